package rule

import (
	"math/bits"
	"regexp"
	"regexp/syntax"
	"slices"
	"sync"
	"unicode/utf8"
)

// Pattern is a regular expression that says whether a text matches, in time proportional to the text's length and, but for
// a sixty-fourth, the pattern's. Go's package goes through the places it may be at in a pattern one by one: a.{999}c takes
// it half a minute of a text of 3 MB. Here the places are the bits of a set, which go on to the next place all at once.
type Pattern struct {
	re     *regexp.Regexp
	places func() *places // made on first use; nil when only Go's package knows
}

// places are those of a pattern where it reads a character. A set of them is a bit for each.
type places struct {
	insts []*syntax.Inst // what is read at each

	begins, restarts         []uint64   // where it may be before the first character, and before any other
	next, stay               []uint64   // places that lead to the one after them, or to themselves, and nowhere else
	leads                    [][]uint64 // where the others lead; nil for those above
	covers                   [][]uint64 // which others lead nowhere else than each of them, as the later of a?a?a? do
	matched, matchedAtEnd    []uint64   // places after which the text matches, whatever follows or at its end
	atOnce, empty, restarted bool       // it matches nothing: anywhere, as the whole text, at the end of one
	ascii                    [128][]uint64
}

// maxPlaces bounds the memory that a pattern takes: the square of it in bits.
const maxPlaces = 2048

// shortText is the length of texts that Go's package takes little time for in any case.
const shortText = 32

// CompilePattern compiles a regular expression of Go's package.
func CompilePattern(text string) (*Pattern, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return &Pattern{re, sync.OnceValue(func() *places { return placesOf(text) })}, nil
}

// Match reports whether the text contains a match.
func (p *Pattern) Match(text string) bool {
	if len(text) < shortText {
		return p.re.MatchString(text)
	}
	if places := p.places(); places != nil {
		return places.match(text)
	}
	return p.re.MatchString(text)
}

// placesOf is nil where a pattern asks for more than where the text begins and ends, or has too many places.
func placesOf(text string) *places {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil
	}
	w := &placing{prog: prog, at: make([]int, len(prog.Inst))}
	for i := range prog.Inst {
		switch inst := &prog.Inst[i]; inst.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			w.at[i] = len(w.insts)
			w.insts = append(w.insts, inst)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^(syntax.EmptyBeginText|syntax.EmptyEndText) != 0 {
				return nil
			}
		}
	}
	if len(w.insts) > maxPlaces {
		return nil
	}
	return w.place()
}

// placing finds the places of a program.
type placing struct {
	prog  *syntax.Prog
	insts []*syntax.Inst
	at    []int // the place of an instruction
}

func (w *placing) set() []uint64 { return make([]uint64, (len(w.insts)+63)/64) }

// from is where one may be from an instruction on without reading, and whether that is a match.
func (w *placing) from(pc uint32, holds syntax.EmptyOp) (to []uint64, matched bool) {
	to = w.set()
	seen := make([]bool, len(w.prog.Inst))
	for stack := []uint32{pc}; len(stack) > 0; {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch inst := &w.prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, inst.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^holds == 0 {
				stack = append(stack, inst.Out)
			}
		case syntax.InstMatch:
			matched = true
		case syntax.InstFail:
		default:
			put(to, w.at[pc])
		}
	}
	return to, matched
}

func (w *placing) place() *places {
	const begin, end = syntax.EmptyBeginText, syntax.EmptyEndText
	p := &places{insts: w.insts, next: w.set(), stay: w.set(), matched: w.set(), matchedAtEnd: w.set(), leads: make([][]uint64, len(w.insts))}
	start := uint32(w.prog.Start)
	var first, again bool
	p.begins, first = w.from(start, begin)
	p.restarts, again = w.from(start, 0)
	p.atOnce = first || again
	_, p.empty = w.from(start, begin|end)
	_, p.restarted = w.from(start, end)
	for i, inst := range w.insts {
		to, matched := w.from(inst.Out, 0)
		if matched {
			put(p.matched, i)
		}
		if _, matched := w.from(inst.Out, end); matched {
			put(p.matchedAtEnd, i)
		}
		alone := w.set()
		if has(to, i) {
			put(alone, i)
		}
		if i+1 < len(w.insts) && has(to, i+1) {
			put(alone, i+1)
		}
		if !slices.Equal(to, alone) {
			p.leads[i] = to
			continue
		}
		if has(to, i) {
			put(p.stay, i)
		}
		if i+1 < len(w.insts) && has(to, i+1) {
			put(p.next, i)
		}
	}
	p.covers = make([][]uint64, len(w.insts))
	for i := range p.leads {
		if p.leads[i] == nil {
			continue
		}
		p.covers[i] = w.set()
		for j := range p.leads {
			if p.leads[j] != nil && within(p.leads[j], p.leads[i]) {
				put(p.covers[i], j)
			}
		}
	}
	for r := range p.ascii {
		p.ascii[r] = p.reading(rune(r))
	}
	return p
}

func put(set []uint64, i int)      { set[i/64] |= 1 << (i % 64) }
func has(set []uint64, i int) bool { return set[i/64]&(1<<(i%64)) != 0 }

// within reports whether all of one set is in another.
func within(set, in []uint64) bool {
	for w := range set {
		if set[w]&^in[w] != 0 {
			return false
		}
	}
	return true
}

// reading is the places that read a character.
func (p *places) reading(r rune) []uint64 {
	set := make([]uint64, len(p.next))
	for i, inst := range p.insts {
		if inst.MatchRune(r) {
			put(set, i)
		}
	}
	return set
}

// match goes through a text.
func (p *places) match(text string) bool {
	if p.atOnce || p.empty && text == "" || p.restarted {
		return true
	}
	n := len(p.next)
	at, to, covered := slices.Clone(p.begins), make([]uint64, n), make([]uint64, n)
	// A step from a set by a character is mostly the same as the one before.
	last, was := rune(-1), make([]uint64, n)
	atEnd := false
	others := map[rune][]uint64{}
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		var reads []uint64
		if r < utf8.RuneSelf {
			reads = p.ascii[r]
		} else {
			r, size = utf8.DecodeRuneInString(text[i:])
			if reads = others[r]; reads == nil {
				reads = p.reading(r)
				if len(others) < maxRecalled {
					others[r] = reads
				}
			}
		}
		i += size
		if r == last && slices.Equal(at, was) {
			continue // it leads there again
		}
		last = r
		copy(was, at)
		var matched bool
		if matched, atEnd = p.step(was, to, reads, covered); matched {
			return true
		}
		at, to = to, at
	}
	return atEnd
}

// step is where a character leads from a set of places. covered is for it to use.
func (p *places) step(at, to, reads, covered []uint64) (matched, atEnd bool) {
	copy(to, p.restarts)
	clear(covered)
	carry := uint64(0)
	for w := range at {
		active := at[w] & reads[w]
		matched = matched || active&p.matched[w] != 0
		atEnd = atEnd || active&p.matchedAtEnd[w] != 0
		on := active & p.next[w]
		to[w] |= on<<1 | carry | active&p.stay[w]
		carry = on >> 63
		for rest := active &^ (p.next[w] | p.stay[w] | covered[w]); rest != 0; rest &^= covered[w] {
			i := w*64 + bits.TrailingZeros64(rest)
			if p.leads[i] == nil { // it leads nowhere
				covered[w] |= 1 << (i % 64)
				continue
			}
			leads, covers := p.leads[i], p.covers[i]
			for k := range to {
				to[k] |= leads[k]
				covered[k] |= covers[k]
			}
		}
	}
	return matched, atEnd
}
