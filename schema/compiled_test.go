package schema

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	celgo "github.com/google/cel-go/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"

	"pintle.dev/object"
	"pintle.dev/schema/rule"
)

// compiledSchema has values of every type that compiled rules know, and some they do not.
const compiledSchema = `{"type":"object","properties":{
	"s":{"type":"string"},"t":{"type":"string","nullable":true},"n":{"type":"integer"},"m":{"type":"integer"},"d":{"type":"number"},"e":{"type":"number"},"b":{"type":"boolean"},"a-b":{"type":"string"},
	"strs":{"type":"array","items":{"type":"string"}},"ints":{"type":"array","items":{"type":"integer"}},"nums":{"type":"array","items":{"type":"number"}},
	"set":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
	"items":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","required":["name"],"properties":{
		"name":{"type":"string"},"value":{"type":"string"},"extra":{"type":"string"},"more":{"type":"object","properties":{"x":{"type":"string"}}},"n":{"type":"integer"},"o":{"type":"object","properties":{"x":{"type":"string"},"y":{"type":"integer"}}},"tags":{"type":"array","items":{"type":"string"}}}}},
	"map":{"type":"object","additionalProperties":{"type":"string"}},"one":{"type":"object","additionalProperties":{"type":"string"}},"counts":{"type":"object","additionalProperties":{"type":"integer"}},
	"o":{"type":"object","properties":{"x":{"type":"string"},"y":{"type":"integer"},"z":{"type":"object","properties":{"x":{"type":"string"}}},"w":{"type":"object","properties":{"x":{"type":"string"}}}}},
	"when":{"type":"string","format":"date-time"},"wait":{"type":"string","format":"duration"},"url":{"type":"string"},"ip":{"type":"string"},"cpu":{"type":"string"},"span":{"type":"string"},"version":{"type":"string"},"port":{"x-kubernetes-int-or-string":true},"any":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`

// celCase is the ground on which compiled rules are compared with cel-go's programs.
type celCase struct {
	e                *evaluator
	self             *rule.Type
	env, optionalEnv *celgo.Env // of oldSelf
}

func newCELCase(t testing.TB) *celCase {
	t.Helper()
	u, err := mustCompile(t, compiledSchema).upstream()
	if err != nil {
		t.Fatal(err)
	}
	shape := newCELShape(model.WithTypeAndObjectMeta(u.structural))
	c := &celCase{e: &evaluator{shape: shape}, self: rule.TypeOf(shape)}
	typ := model.SchemaDeclType(u.structural, true).MaybeAssignTypeName("selfType")
	if c.env, err = ruleEnv(typ, false); err != nil {
		t.Fatal(err)
	}
	if c.optionalEnv, err = ruleEnv(typ, true); err != nil {
		t.Fatal(err)
	}
	return c
}

// compile is a rule as the evaluator has it. It fails when that is not valid CEL.
func (c *celCase) compile(text string, optional bool) (*celRule, error) {
	env := c.env
	if optional {
		env = c.optionalEnv
	}
	x, err := compileExpression(env, text, c.self, celgo.BoolType)
	return &celRule{expression: x, optionalOld: optional}, err
}

// compare checks R1: what a compiled rule comes to, when it knows, is what cel-go's program does, at the same cost. It
// returns whether it does hold.
func (c *celCase) compare(t testing.TB, text string, r *celRule, doc, old *object.Value) (compiled, program bool) {
	t.Helper()
	if r.namesOld && old == nil && !r.optionalOld || r.compiled == nil {
		return false, false
	}
	vars := c.e.variables(doc, old)
	if r.optionalOld {
		vars.wrapOld()
	}
	got := r.compiled.Eval(t.Context(), doc, old)
	var want answer
	for range 200 { // cel-go goes through the keys of a map in an order that changes
		if want = r.evalByProgram(t.Context(), vars); c.agree(t, r, vars, got, want) {
			return got.Holds && got.Outcome == rule.Value, want.holds
		}
	}
	t.Errorf("R1: %s\nof %s, was %s: %+v, want %+v", text, jsonText(doc), jsonText(old), got, want)
	return false, false
}

func (c *celCase) agree(t testing.TB, r *celRule, vars *variables, got rule.Result, want answer) bool {
	switch got.Outcome {
	case rule.Value:
		return want.err == nil && got.Holds == want.holds && got.Cost == want.cost
	case rule.Error:
		err := r.errorOf(t.Context(), vars)
		return want.err != nil && err != nil && err.Error() == want.err.Error() && got.Cost == want.cost
	case rule.TooLarge:
		return want.err != nil && want.err.Error() == errLimit.Error()
	}
	return true
}

func jsonText(v *object.Value) string { return string(object.AppendJSON(nil, v)) }

// fullDoc has a value everywhere.
const fullDoc = `{"s":"some text that has words","t":"x","n":3,"m":-4,"d":2.5,"e":2,"b":true,"a-b":"dash","strs":["a","b","a longer one, of some words"],"ints":[1,2,3],"nums":[1,2.5],
	"set":["b","a"],"items":[{"name":"a","value":"A","n":1,"o":{"x":"q","y":1},"tags":["t","u"]},{"name":"b","value":"BB","n":2,"o":{"x":"r","y":2},"tags":[]}],
	"map":{"k":"v","l":"w"},"one":{"k":"v"},"counts":{"k":1,"l":2},"o":{"x":"x","y":7,"z":{"x":"zx"}},"when":"2020-01-01T00:00:00Z","wait":"5m","url":"https://example.com:8443/a?b=c","ip":"10.1.2.3","cpu":"1500m","span":"90s","version":"1.20.3","port":80,"any":{"q":[1,{}]},"metadata":{"name":"full"}}`

// compiledRules hold for fullDoc, when it was that before.
var compiledRules = []string{
	`self.b`, `self.s.size() > 3 && self.n < 5`, `self.s.startsWith('some') && self.s.endsWith('words') && self.s.contains('text')`, `self.s.matches('^[a-z ]+$')`, `!self.s.matches('^[0-9]+$')`,
	`self.n + self.m == -1`, `self.n - self.m == 7`, `self.n * self.m <= -12`, `self.m / self.n == -1`, `self.m % self.n == -1`, `-self.n == -3 && -self.d == -2.5`, `self.d * self.e >= 5.0 && self.d + self.e != 1.0 && self.d - self.e > 0.0 && self.d / self.e < 2.0`,
	`self.s + self.t == 'some text that has wordsx'`, `self.s > 'a' && self.s >= 'b' && 'b' <= self.s && 'b' < self.s`, `self.t.upperAscii() == 'X' && self.s.lowerAscii() == self.s`,
	`self.a__dash__b == 'dash'`, `has(self.a__dash__b)`, `has(self.o.z.x) && has(self.o.y)`, `has(self.when) && has(self.port) && has(self.any)`, `self.metadata.name == 'full' && has(self.metadata.name)`,
	`self.strs.all(x, x.size() > 0)`, `self.strs.exists(x, x == 'b')`, `self.strs.exists_one(x, x == 'b')`, `self.strs.filter(x, x.size() == 1).size() == 2`, `self.strs.map(x, x.size()).all(n, n > 0)`, `self.strs.map(x, x.size() == 1, x + x).exists(x, x == 'aa')`,
	`self.ints.map(n, n * 2).exists(n, n == 6)`, `self.nums.all(x, x > 0.5)`, `self.nums.map(x, x * 2.0)[0] == 2.0`, `self.ints[0] == 1 && self.ints[self.n - 1] == 3`, `self.ints[self.ints[0]] == 2`, `self.strs[0] == 'a'`,
	`self.items.all(i, i.name.size() > 0 && i.value.size() > 0)`, `self.items.exists(i, i.o.x == 'r' && i.o.y == 2)`, `self.items.filter(i, i.n > 1).all(i, i.name == 'b')`, `self.items.filter(i, i.n > 1)[0].name == 'b'`, `self.items.map(i, i.name).exists(n, n == 'b')`, `self.items.map(i, i.o).exists(o, o.y == 1)`,
	`self.items.all(i, self.items.exists_one(j, i.name == j.name))`, `self.items.all(i, i.tags.all(t, t in ['t', 'u', 'v']))`, `self.items.all(i, i.name in ['a', 'b'])`, `self.items.exists_one(i, i.name in ['b', 'c'])`, `self.items.filter(i, !(i.name in ['b', 'c'])).size() == 1`,
	`'b' in self.strs && !('c' in self.strs)`, `2 in self.ints`, `2.5 in self.nums`, `self.n in [1, 2, 3] && self.d in [1.0, 2.5]`, `self.items.map(i, i.name).exists(n, n in self.strs)`, `'b' in self.items.map(i, i.name)`, `'a' in self.set && self.t in [self.s, self.t]`, `!(self.n in [])`,
	`self.map.all(k, k in self.counts)`, `self.map.all(k, self.map[k].size() == 1)`, `self.map.k == 'v' && has(self.map.k) && !has(self.map.q)`, `self.map['k'] == 'v' && 'l' in self.map`, `self.map.size() == 2 && size(self.counts) == 2 && size(self.s) > 2 && size(self.strs) == 3`, `self.counts.all(k, self.counts[k] > 0)`, `self.map[self.map.exists(k, k == 'z') ? 'z' : 'k'] == 'v'`,
	`self.b ? self.n == 3 : self.m == 3`, `(self.b ? self.s : self.t).size() > 3`, `(self.b ? self.o : self.o).x == 'x'`, `(self.n > 5 ? self.o.z.x : self.b ? self.o.x : self.t) == 'x'`, `(self.n > 5 ? 'lit' : self.t) == 'x'`, `(self.b ? has(self.o.x) : has(self.o.y))`, `(self.b ? self.ints : self.ints)[self.b ? 0 : 1] == 1`, `(self.b ? 1.5 : self.d) == 1.5`, `[self.s, self.t].all(x, x.size() > 0)`, `[1, 2, self.n].exists(x, x == 3)`, `['a', 'b'].all(x, x in self.strs)`, `[self.o, self.o].all(o, o.x == 'x')`,
	`self == oldSelf`, `self.o == oldSelf.o && !(self.items != oldSelf.items)`, `self.strs == oldSelf.strs && self.set == oldSelf.set && self.map == oldSelf.map && self.nums == oldSelf.nums`, `self.when == oldSelf.when && self.port == oldSelf.port && self.any == oldSelf.any`, `self.n >= oldSelf.n && self.s == oldSelf.s`, `self.items.all(i, oldSelf.items.exists(o, o.name == i.name && o == i))`, `oldSelf.map.all(k, k in self.map && self.map[k] == oldSelf.map[k])`, `self.items.size() <= oldSelf.items.size() + 1`, `oldSelf.items.all(o, self.items.filter(i, i.name == o.name).size() == 1)`,
	`self.strs.all(x, self.ints.all(n, n > 0 || x != ''))`, `self.strs.map(x, 'lit').all(x, x == 'lit')`, `self.strs.map(x, 1)[0] == 1`, `self.items.map(i, i.tags.filter(t, t == 'u')).exists(l, l.size() == 1)`, `self.items.map(i, i.tags).exists(l, 'u' in l)`, `true`, `'a' < 'b' && 1 < 2 && 1.0 < 2.0 && 1 == 1`, `self.strs.all(self, self.size() > 0)`,
	`self.strs.all(i, x, i < 3 && x != '')`, `self.items.exists(i, x, x.name == 'b' && i == 1)`, `self.map.all(k, v, k in self.counts && v.size() == 1)`, `self.strs.transformList(i, x, x + x)[1] == 'bb' && self.map.transformList(k, v, v == 'v', k) == ['k']`, `self.ints.existsOne(i, n, n == i + 2) == false`,
	// of optional fields
	`self.?t.orValue('y') == 'x' && self.o.?w.x.orValue('none') == 'none' && self.?o.z.x.orValue('') == 'zx' && self.?o.?w.?x.hasValue() == false && self.?n.hasValue()`, `self.map.?k.orValue('') == 'v' && self.map.?zz.orValue('w') == 'w' && self.?strs.orValue([]).size() == 3 && self.?map.value().k == 'v'`, `self.items.all(i, i.?extra.orValue(i.name) == i.name && !i.?more.x.hasValue() && i.?o.x.value() != '')`, `self.?port.orValue(1) == 80 && self.?when.value() == self.when && (self.b ? self.port : 'http') == 80`, `(self.b ? self.?t.orValue('') : self.s) == 'x' && self.?a__dash__b.orValue('') == 'dash'`, `!self.o.w.?x.hasValue() || self.b`,
	`self.map[?'k'].orValue('') == 'v' && self.map[?'q'].orValue('none') == 'none' && self.?map['k'].orValue('') == 'v' && self.?map['q'].hasValue() == false && self.?map[?'l'].hasValue()`, `self.strs[?0].orValue('') == 'a' && self.strs[?7].orValue('none') == 'none' && self.?strs[?1].orValue('') == 'b' && self.?strs[1].orValue('') == 'b' && !self.strs[?-1].hasValue()`, `self.items[?1].name.orValue('') == 'b' && self.items[?1].o.?x.orValue('') == 'r' && self.?items[0].?o.x.hasValue() && !self.items[?5].extra.hasValue()`, `self.items.all(i, i.tags[?0].orValue('t') == 't' && i.?tags[?1].orValue('u') == 'u')`, `self.?items[9].name.orValue('none') == 'none'`,
	`self.map[?self.t].orValue('none') == 'none' && self.map[?self.strs[0]].hasValue() == false && self.strs[?self.n - 3].orValue('') == 'a' && self.?strs[?self.n].orValue('none') == 'none' && self.items[?self.ints[0]].name.orValue('') == 'b'`,
	`self.?t.optMap(x, x + x).orValue('') == 'xx' && !self.o.?w.x.optMap(x, x + x).hasValue() && self.?n.optMap(n, n * n).value() == 9 && self.?strs.optMap(l, l.size() + l[0].size()).orValue(0) == 4 && self.?t.optMap(x, 1).orValue(2) == 1`,
	`self.?o.optFlatMap(o, o.?z).optFlatMap(z, z.?x).orValue('') == 'zx' && self.?o.optFlatMap(o, o.?w).hasValue() == false && self.?map.optFlatMap(m, m[?'k']).orValue('') == 'v' && self.?o.optMap(o, o.z).value().x == 'zx'`,
	`self.items.all(i, i.?extra.optMap(e, e + 'x').orValue(i.name + 'y') == i.name + 'y' && i.?o.optMap(o, o.x + o.x).orValue('').size() == 2) && self.ints.all(n, self.items.all(i, i.?value.optMap(v, n > 1 ? v : 'x').or(optional.of('b')).hasValue()))`,
	`self.ints.all(n, self.items.all(i, i.?value.optMap(v, (n > 1 || v != 'q') && (v + 'x').size() > 1 && self.strs.all(s, s + v != v)).orValue(true)))`, `self.?o.w.x.or(self.?t).orValue('') == 'x' && self.?o.w.x.or(optional.none()).or(optional.of('z')).value() == 'z' && (self.b ? optional.of(self.n) : optional.none()).orValue(1) == 3 && (self.b ? self.?t : optional.none()).hasValue() && !optional.none().hasValue()`,
	`optional.ofNonZeroValue(self.t).orValue('y') == 'x' && !optional.ofNonZeroValue(self.n - 3).hasValue() && !optional.ofNonZeroValue(self.strs.filter(x, x == 'z')).hasValue() && optional.ofNonZeroValue(self.strs).hasValue() && optional.ofNonZeroValue(self.map).value().k == 'v' && !optional.ofNonZeroValue(self.d * 0.0).hasValue() && !optional.ofNonZeroValue(!self.b).hasValue() && !optional.ofNonZeroValue('').hasValue() && optional.ofNonZeroValue(self.o).hasValue()`,
	`self.strs.first().value() == 'a' && self.ints.last().orValue(0) == 3 && !self.strs.filter(x, x == 'z').first().hasValue() && self.items.last().hasValue() && self.s.split(' ').last().value() == 'words' && self.items.map(i, i.name).first().optMap(n, n + 'x').orValue('') == 'ax'`,
	`self.?strs.optMap(l, (l + ['z']).size() + l.size()).orValue(9) == 7`,
	`url(self.url).getQuery()['b'][0] == 'c' && url(self.url).getQuery().size() == 1 && 'b' in url(self.url).getQuery() && url(self.url).getQuery().all(k, k == 'b') && url(self.url).getQuery() == {'b': ['c']}`, `(self.ints + [7]).exists(n, n == 7) && (self.nums + self.nums)[3] == 2.5 && (self.ints + self.ints).filter(n, n > 1).size() == 4`,
	// of values of several types
	`dyn(self.n) == 3 && dyn(self.n) == dyn(3.0) && dyn(self.t) != 1 && dyn(self.o) == dyn(oldSelf.o) && dyn(1) == 1.0`, `'%s is %d, %.1f, %s'.format([self.t, self.n, self.d, self.strs]) != '' && '%s'.format([self.t]) == self.t && 'a%s'.format([self.b]) == 'atrue' && '%s'.format([self.one]).size() > 3`, `sets.contains([dyn(self.t), dyn(self.n)], ['x']) && strings.quote(self.t) == '"x"' && '%s-%d'.format(['a', 1]) == 'a-1'`,
	`{'a': self.t, 'b': 'q'}['a'] == 'x' && {self.t: self.n}.x == 3 && 'x' in {self.t: true} && {'a': self.o}.a.y == 7 && {'a': self.n, self.t: 1}.all(k, k != '') && {'a': self.strs}['a'].size() == 3`,
	`self.map.transformMap(k, v, v + k)['k'] == 'vk' && self.map.transformMap(k, v, k == 'k', v.size()) .size() == 1 && self.counts.transformMap(k, n, n + 1).k == 2 && self.items.transformMapEntry(i, x, {x.name: x.n})['b'] == 2 && self.items.transformMapEntry(i, x, i > 0, {x.name: x.o}).b.y == 2 && self.map.transformMapEntry(k, v, {v: k}).size() == 2 && self.map.transformMap(k, v, 1) != {}`,
	`self.strs.transformMapEntry(i, s, {s: 1}).size() == 3 && self.map.transformMapEntry(k, v, v == 'v', {'one': v}) == {'one': 'v'}`,
	// of maps with keys that are integers, and of entries that need not be there
	`self.strs.transformMap(i, x, x + 'y')[1] == 'by' && self.ints.transformMap(i, n, n > 1, n * 2).size() == 2 && 2 in self.ints.transformMap(i, n, n) && !(5 in self.ints.transformMap(i, n, n)) && self.items.transformMap(i, x, x.o)[0].y == 1`,
	`self.strs.transformMap(i, x, x).all(i, i >= 0 && i < 3) && self.strs.transformMap(i, x, x).exists(i, x, i == 1 && x == 'b') && self.ints.transformMapEntry(i, n, {n: i})[3] == 2 && {1: 'a', -7: 'b'}[self.n - 10] == 'b' && {-1: 1, 1: 2}.all(k, k * k == 1)`,
	`self.ints.transformMap(i, n, n) == {0: 1, 1: 2, 2: 3} && (self.b ? self.ints.transformMap(i, n, n) : {}).size() == 3 && self.map.transformMap(k, v, 1) != {}`,
	`[self.ints.transformMap(i, n, n)].all(m, m[?7].orValue(4) == 4 && m[?0].orValue(4) == 1 && m[0] == 1)`, `[?self.?t, 'b'] == ['x', 'b'] && [?self.o.?w.x, 'b'].size() == 1 && [?self.o.?w.x, ?self.?t].all(x, x == 'x') && self.items.all(i, [?i.?extra, i.name].size() == 1) && [1, ?self.?n].exists(n, n == 3)`,
	`{?'a': self.?t, 'b': 'c'}.size() == 2 && {?'a': self.o.?w.x}.size() == 0 && {?'a': self.?n}['a'] == 3 && {'q': 'r', ?self.t: self.?t}.x == 'x' && {?1: self.?t}[1] == 'x' && self.items.all(i, !('e' in {?'e': i.?extra}))`,
	// of loops that come to the same each time
	`self.strs.all(x, x in oldSelf.strs.map(y, y))`, `self.items.all(i, self.items.filter(j, j.n > 1).size() == 1 && self.items.filter(j, j.n > i.n).size() < 2)`, `self.items.all(i, i.tags.all(t, self.strs.map(x, self.strs.filter(y, y != x)).size() == 3 && i.tags.map(u, u + t).size() == 2))`,
	// of values that are recalled, in the next round of a loop or when it is come to again
	`self.ints.all(n, self.strs.all(x, self.strs.exists_one(y, x.upperAscii() == y.upperAscii() && x.split(' ')[0] == y.split(' ')[0] && n + x.size() > n - y.size())))`, `self.ints.all(n, self.ints.all(m, self.ints.exists_one(k, n * 2 + m * 2 + k * 2 == n * 2 + m * 4)))`, `self.ints.all(i, n, self.ints.exists_one(j, m, i * 2 == j * 2 && n * 1 == m * 1))`, `self.map.all(k, self.map.exists_one(l, k.size() + l.size() == 2 && self.map[k] == self.map[l]))`,
	`self.ints.all(n, self.items.all(i, i.tags.all(t, i.tags.exists_one(u, t + i.name == u + i.name && self.items.filter(j, j.name == i.name).map(j, j.name + t)[0] == i.name + u))))`, `self.ints.all(n, self.items.all(i, self.items.filter(j, i.o == j.o && i.tags == j.tags).size() == 1))`, `self.nums.all(d, self.nums.all(x, self.nums.exists(y, x * 2.0 == y * 2.0 && d + 1.0 > 0.5)))`,
	`self.ints.all(n, self.ints.all(m, (duration(string(n) + 's') == duration(string(m) + 's')) == (n == m) && duration(string(n) + 's') < self.wait))`, `self.ints.all(n, self.ints.all(m, self.b ? self.s.size() + n > m : self.o.y < n))`, `self.ints.all(n, self.ints.all(m, self.counts[self.map.exists(k, k == string(n)) ? 'l' : 'k'] == 1))`, `self.ints.all(n, self.items.exists(i, i.extra == 'x' || i.extra.size() > n || i.name + 'c' == 'bc'))`, `self.ints.all(n, self.items.exists(i, (has(i.extra) || i.name == 'b') && (n > 1 || i.name + 'c' == 'bc')))`,
	`self.ints.all(n, self.ints.filter(m, m >= n).exists_one(m, m * 2 == n * 2))`, `self.ints.all(n, self.items.all(i, (i.name == 'a') == ('t' + string(n).substring(1) in i.tags.map(u, u))))`, `self.ints.exists(n, self.items.all(i, i.value != 'x') && n == 3)`,
	`self.ints.all(n, quantity('5000000000000000000000000').add(quantity(string(n))).compareTo(quantity('5000000000000000000000003')) <= 0)`, `self.ints.all(n, quantity('1').compareTo(quantity('5000000000000000000000000')) < 0 && quantity('1500m').add(quantity('5000000000000000000000000')).sub(quantity(string(n))).isGreaterThan(quantity('4999999999999999999999998')))`,
	// of errors that do not matter
	`self.items.exists(i, i.extra == 'x' || i.name == 'b')`, `self.items.exists(i, i.extra.matches('^x') || i.extra.size() > 3 || i.extra in ['x'] || i.extra < i.name || i.name == 'b')`, `!self.items.all(i, i.extra == 'x' && i.more.x != 'y' && !(i.name == 'b'))`, `self.map['z'] == 'x' || self.map.y.startsWith('a') || self.counts['q'] + 1 > 2 || self.strs[7] == 'b' || self.n == 3`, `has(self.o.w.x) || self.o.w.x == 'x' || (self.o.w.x == 'y' ? self.b : false) || self.b`, `self.items.exists_one(i, (i.extra == 'x' || i.n > 0) && i.name == 'b')`, `self.items.filter(i, (i.extra == 'x' || i.n > 0) && i.name == 'b').size() == 1`, `self.o.w.x == self.t || self.t == self.o.w.x || '' == self.o.w.x || self.o.w.x == self.items[0].extra || self.b`, `!(self.o.w.x == 'x' && self.b && !self.b)`,
	`self.strs.all(x, self.o.w.x == x || x != '')`, `self.o.w.x.contains('abcdefghijklmno') || 'abcdefghijklmno'.contains(self.o.w.x) || 'a'.endsWith(self.o.w.x) || self.b`,
	// of values and functions that are left to cel-go's own implementations
	`self.when > timestamp('2000-01-01T00:00:00Z') && self.when.getFullYear() == 2020 && self.when + self.wait > self.when`, `self.wait < duration('1h') && duration(self.span) >= duration('1ms') && !(duration(self.span) == duration('0s') || duration(self.span) > self.wait)`, `duration(self.span).getSeconds() == 90`, `duration(self.span) + self.wait == duration('6m30s')`,
	`self.port == 80 && self.port != 'http' && self.port > 0`, `type(self.port) == int ? self.port >= 1 && self.port <= 65535 : self.port.matches('^[a-z]+$')`, `type(self.port) != string && string(self.port) == '80' && int(self.port) == 80`, `self.any == oldSelf.any && self.port == oldSelf.port && self.when >= oldSelf.when`,
	`int(self.strs.size()) == 3 && string(self.n) == '3' && double(self.n) == 3.0 && int(self.d) == 2 && int('12') == 12 && bool('true')`, `self.d > 1 && self.n < 3.5`, `self.n == 3 && double(self.n) == self.d + 0.5`,
	`self.s.split(' ')[0] == 'some' && self.s.split(' ').all(w, w.size() > 2) && self.s.split(' ').size() == 5 && 'text' in self.s.split(' ')`, `self.s.substring(5).startsWith('text') && self.s.substring(0, 4) == 'some' && self.s.substring(0, self.port - 76) == 'some' && self.s.charAt(1) == 'o'`, `self.s.find('^[a-z]+') == 'some' && self.s.findAll('[a-z]+').size() == 5`, `self.s.replace(' ', '-').trim() == 'some-text-that-has-words'`, `self.strs.join(',').startsWith('a,b,') && ['a', self.t].join() == 'ax'`, `self.s.indexOf('text') == 5 && self.s.lastIndexOf('zz') == -1 && self.s.matches(self.t + '?')`,
	`self.ints.sum() == 6 && self.ints.max() == 3 && self.ints.isSorted() && self.ints.indexOf(2) == 1 && self.nums.min() == 1.0 && !self.set.isSorted()`, `self.strs == ['a', 'b', self.strs[2]]`, `!(self.strs == []) && self.map != {} && self.items != [] && (self.b || [] == self.ints || {} == self.counts) && self.strs.filter(x, x == 'z') == []`,
	`sets.contains(self.strs, ['a', 'b']) && sets.contains(self.strs, oldSelf.strs) && sets.contains(['a', 'b', 'c'], self.set) && !sets.contains(self.ints, [4])`, `sets.equivalent(self.set, ['a', 'b', 'a']) && sets.equivalent(self.items, oldSelf.items) && !sets.equivalent(self.ints, [1])`, `sets.intersects(self.strs, ['q', self.t, 'b']) && !sets.intersects(self.nums, [7.5]) && self.items.all(i, sets.intersects(i.tags, ['t', 'u']) || sets.contains(['x'], i.tags))`, `(self.strs + self.strs).size() == 6`, `self.set.map(x, x) == ['b', 'a']`,
	`isURL(self.url) && url(self.url).getScheme() in ['http', 'https'] && url(self.url).getHostname() == 'example.com' && url(self.url).getPort() == '8443'`, `isIP(self.ip) && ip(self.ip).family() == 4 && !ip(self.ip).isLoopback() && ip.isCanonical(self.ip)`, `cidr('10.0.0.0/8').containsIP(self.ip) && cidr('10.0.0.0/8').containsIP(ip(self.ip)) && !isCIDR(self.ip) && cidr('10.0.0.0/8').prefixLength() == 8`,
	`quantity(self.cpu).isGreaterThan(quantity('1')) && isQuantity(self.cpu) && !isQuantity(self.s) && quantity(self.cpu).compareTo(quantity('1.5')) == 0 && quantity(self.cpu) == quantity('1500m')`, `quantity(self.cpu).add(quantity('500m')).isGreaterThan(quantity('1900m')) && quantity('2').asInteger() == 2`, `isSemver(self.version) && semver(self.version).major() == 1 && semver(self.version).isLessThan(semver('2.0.0'))`,
	`!format.dns1123Label().validate(self.t).hasValue() && format.qualifiedName().validate(self.s).hasValue() && format.dns1123Subdomain().validate(self.s).value().size() == 1`, `format.dns1123Label().validate(self.s) != null`, `format.named('uri').value().validate(self.s).hasValue()`,
	`{'some': 1, 'x': 2}[self.t] < {'x': 3}['x'] && self.t in {'x': 1} && {'x': 'y'}.x == 'y'`, `(self.b ? self.map : {}).size() == 2 && (has(self.map) ? {} : self.map).all(k, k == '') && !(self.s in {})`, `(has(self.strs) ? self.strs : []).size() == 3 && (has(self.o) ? [] : self.strs).all(x, x == '')`, `(self.b ? self.strs : ['a'])[0] == 'a' && (self.b ? self.when : timestamp('2000-01-01T00:00:00Z')).getMonth() == 0`,
	`self.strs.all(x, !isIP(x)) && self.items.all(i, i.name.split('-').size() == 1)`,
	`self.items.exists_one(k, (k.name == 'a') == (k.value in ['A']) && k.n == 1)`, `self.strs.exists_one(k, self.s.contains(k) == (k in ['a']) && k == 'a')`,
}

// optionalRules hold for fullDoc, whether or not it was there before; their oldSelf is optional.
var optionalRules = []string{
	`!oldSelf.hasValue() || oldSelf.value() == self`, `oldSelf.?n.orValue(3) == self.n && oldSelf.items.orValue([]).all(i, i.name != '')`, `oldSelf.orValue(self).o.x == 'x'`, `oldSelf.hasValue() ? oldSelf.value().n <= self.n : self.n == 3`, `!oldSelf.hasValue() || oldSelf.value().items.all(o, self.items.exists(i, i.name == o.name))`, `self.n == 3`,
}

// undecidedRules are compiled, but whether they hold for fullDoc is left to cel-go.
var undecidedRules = []string{
	`[self.d / 0.0].all(x, x > 1.0)`, `[-self.d / 0.0, 1.0].exists(x, x == 1.0)`, `self.s.substring(5, 4).size() > 9 || self.b`, `self.s.substring(-1) == '' || self.b`, `self.s.substring(0, 99) == '' || self.b`, `url(self.o.x).getHost() == '' || self.b`, `self.strs[?0].value() + self.strs[?7].value() == '' || self.b`,
}

// uncompiledRules are valid, but read values of any type, or items of lists that have none: they are left to cel-go.
var uncompiledRules = []string{
	`!self.port`, `[self.port].all(p, !p)`, `(self.set + self.strs).size() == 3`, `((self.b ? self.set : []) + self.strs).size() == 3`, `self.strs.map(x, duration('1s')).size() == 3`, `[self.port][0].upperAscii() == 'HTTP'`, `[][0] == 1`, `(self.b ? [] : [])[self.n] == 1`,
	`dyn(self.b ? self.strs : ['a']) != dyn(1)`, `(self.b ? self.strs : ['a']) != self.port`, `self.strs.map(x, [])[0][0] == 1`, `self.strs.map(x, []).all(l, l[0] == 1)`,
}

func TestUncompiledRules(t *testing.T) {
	c := newCELCase(t)
	for _, text := range uncompiledRules {
		r, err := c.compile(text, false)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if r.compiled != nil {
			t.Errorf("%s: compiled", text)
		}
	}
}

// TestValueOfNoOldSelf: oldSelf.value() without an old value is an error, of types whose values only upstream knows as well.
func TestValueOfNoOldSelf(t *testing.T) {
	s := mustCompile(t, `{"type":"object","properties":{"when":{"type":"string","format":"date-time","nullable":true,
		"x-kubernetes-validations":[{"rule":"oldSelf.value() != self","optionalOldSelf":true}]}}}`)
	agreeOn(t, s, mustParse(t, `{"when":"2020-01-01T00:00:00Z"}`), nil)
}

// TestCompiledRules: common rules are compiled, and hold where they should at cel-go's cost.
func TestCompiledRules(t *testing.T) {
	c := newCELCase(t)
	full := mustParse(t, fullDoc)
	check := func(text string, optional bool, old *object.Value) {
		r, err := c.compile(text, optional)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if r.compiled == nil {
			t.Errorf("%s: not compiled", text)
			return
		}
		if compiled, program := c.compare(t, text, r, full, old); !compiled || !program {
			t.Errorf("%s: holds: %t, for cel-go %t", text, compiled, program)
		}
		for _, doc := range sparseDocs(t, text) {
			c.compare(t, text, r, doc, full)
			if r.namesOld {
				c.compare(t, text, r, full, doc)
			}
		}
	}
	for _, text := range compiledRules {
		check(text, false, full)
	}
	for _, text := range undecidedRules {
		r, err := c.compile(text, false)
		if err != nil || r.compiled == nil {
			t.Errorf("%s: compiled: %t, %v", text, r.compiled != nil, err)
			continue
		}
		if compiled, program := c.compare(t, text, r, full, full); compiled || !program {
			t.Errorf("%s: holds: %t, for cel-go %t", text, compiled, program)
		}
	}
	for _, text := range optionalRules {
		check(text, true, full)
		check(text, true, nil)
	}
}

// TestRecallsOfLongLists: what depends on the elements of a list is recalled or found out again, for lists of any length.
func TestRecallsOfLongLists(t *testing.T) {
	c := newCELCase(t)
	const text = `self.ints.all(n, self.strs.exists(s, s + 'x' == 'nonex') || n > 0)`
	r, err := c.compile(text, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{1, 1023, 1024, 1025} {
		doc := mustParse(t, fullDoc)
		doc.Set("strs", *mustParse(t, "["+strings.Repeat(`"a",`, length-1)+`"b"]`))
		if compiled, program := c.compare(t, text, r, doc, nil); !compiled || !program {
			t.Errorf("of %d items: holds: %t, for cel-go %t", length, compiled, program)
		}
	}
}

// sparseDocs each lack a field of fullDoc that the rule names, or have something else there.
func sparseDocs(t testing.TB, text string) []*object.Value {
	var docs []*object.Value
	full := mustParse(t, fullDoc)
	for name := range full.Fields() {
		if !strings.Contains(text, "."+name) {
			continue
		}
		for _, instead := range []string{"", `null`, `"a"`, `1`, `2.5`, `[]`, `["a","a"]`, `{}`, `{"k":"v"}`, `[{"name":"a"},{"name":"b","n":"x"}]`, `[null]`, `{"k":null}`} {
			v := full.Clone()
			if instead == "" {
				v.Remove(name)
			} else {
				v.Set(name, *mustParse(t, instead))
			}
			docs = append(docs, &v)
		}
	}
	return docs
}

// writer makes up rules that are valid CEL mostly.
type writer struct {
	*rand.Rand
	vars []writtenVar
}

type writtenVar struct{ name, kind string }

// simple are expressions of a kind that have no others in them.
func (w *writer) simple(kind string) []string {
	options := map[string][]string{
		"bool":   {"self.b", "true", "has(self.o)", "has(self.o.x)", "has(self.t)", "self.?o.w.hasValue()", "self.?n.hasValue()"},
		"int":    {"self.n", "self.m", "1", "-2", "0", "self.o.y", "self.counts.k", "self.ints[0]"},
		"double": {"self.d", "self.e", "1.5", "-0.5"},
		"string": {"self.s", "self.t", "'a'", "'b'", "''", "'a longer text'", "'äß'", "self.o.x", "self.o.z.x", "self.map['k']", "self.map.l", "self.a__dash__b", "self.o.w.x", "self.?o.x.orValue('a')", "self.o.?w.x.orValue(self.t)", "self.map.?l.orValue('')", "self.map[?'k'].orValue('b')", "self.?strs[?1].orValue('')", "self.strs[?2].orValue('a')", "self.items[?1].?o.x.orValue('b')", "self.span", "self.cpu", "self.url", "self.ip", "'12'"},
		"wait":   {"self.wait", "duration('1s')", "duration('5m')"},
		"strs":   {"self.strs", "['a','b']", "self.set"},
		"ints":   {"self.ints", "[1,2,3]"},
		"nums":   {"self.nums", "[1.0,2.5]"},
		"items":  {"self.items"},
		"item":   {"self.items[0]"},
		"o":      {"self.o"},
	}[kind]
	for _, v := range w.vars {
		switch {
		case v.kind == kind:
			options = append(options, v.name, v.name, v.name)
		case v.kind == "item":
			options = append(options, map[string][]string{"string": {v.name + ".name", v.name + ".value", v.name + ".?value.orValue('b')", v.name + ".extra", v.name + ".more.x"}, "int": {v.name + ".n"}, "strs": {v.name + ".tags"}, "bool": {"has(" + v.name + ".value)", "has(" + v.name + ".more.x)"}}[kind]...)
		}
	}
	return options
}

// expr is an expression of the kind: bool, int, double, string, wait, strs, ints, nums, items, item, o.
func (w *writer) expr(kind string, depth int) string {
	if depth == 0 {
		switch w.IntN(60) {
		case 0:
			return "self.port" // which is of any type, for CEL
		case 1:
			return "[][0]"
		}
		options := w.simple(kind)
		return options[w.IntN(len(options))]
	}
	e := func(kind string) string { return w.expr(kind, depth-1) }
	deeper := []func() string{func() string { return "(" + e("bool") + " ? " + e(kind) + " : " + e(kind) + ")" }}
	switch kind {
	case "bool":
		deeper = append(deeper,
			func() string { return "(" + e("bool") + pick(w.Rand, " && ", " || ") + e("bool") + ")" },
			func() string { return "!" + e("bool") },
			func() string {
				k := pick(w.Rand, "int", "double", "string")
				return "(" + e(k) + pick(w.Rand, " < ", " <= ", " > ", " >= ", " == ", " != ") + e(k) + ")"
			},
			func() string { return "(" + e("bool") + pick(w.Rand, " == ", " != ") + e("bool") + ")" },
			func() string {
				return e("string") + "." + pick(w.Rand, "startsWith", "endsWith", "contains") + "(" + e("string") + ")"
			},
			func() string { return e("string") + pick(w.Rand, ".matches('^a')", ".matches('b.*[cd]')") },
			func() string {
				return "(" + e("string") + " in " + pick(w.Rand, e("strs"), "['a','b']", "self.map", "["+e("string")+"]") + ")"
			},
			func() string { return "(" + e("int") + " in " + pick(w.Rand, e("ints"), "[1,2]") + ")" },
			func() string { return "(" + e("double") + " in " + e("nums") + ")" },
			func() string { return w.loop(pick(w.Rand, "all", "exists", "exists_one"), "", depth) },
			func() string { return w.known(e) },
			func() string { return w.optional(pick(w.Rand, "int", "string", "item", "strs"), depth) + ".hasValue()" },
			func() string {
				return "(dyn(" + e(pick(w.Rand, "int", "string", "double", "strs", "o")) + ") == " + e(pick(w.Rand, "int", "string", "double", "strs", "o")) + ")"
			},
			func() string { return "(" + e("string") + " in " + w.mapping("int", depth) + ")" },
			func() string { return "(" + e("int") + " in " + w.numbered("string", depth) + ")" },
			func() string { return "(" + w.numbered("int", depth) + " == " + w.numbered("int", depth) + ")" },
			func() string {
				return "(" + pick(w.Rand, "self.strs == oldSelf.strs", "self.set == oldSelf.set", "self.o == oldSelf.o", "self.items != oldSelf.items", "self.map == oldSelf.map", "self.nums == oldSelf.nums", "self == oldSelf", "self.port == oldSelf.port", "self.when != oldSelf.when") + ")"
			})
	case "wait":
		deeper = append(deeper, func() string { return "(" + e("wait") + pick(w.Rand, " + ", " - ") + e("wait") + ")" }, func() string { return "duration(" + e("string") + ")" })
	case "int":
		deeper = append(deeper,
			func() string { return w.optional("int", depth) + ".orValue(" + e("int") + ")" },
			func() string { return w.mapping("int", depth) + pick(w.Rand, ".size()", "["+e("string")+"]", ".b") },
			func() string {
				return w.numbered("int", depth) + pick(w.Rand, ".size()", "["+e("int")+"]")
			},
			func() string { return "int(" + e(pick(w.Rand, "string", "double", "int")) + ")" },
			func() string { return e("string") + pick(w.Rand, ".indexOf(", ".lastIndexOf(") + e("string") + ")" },
			func() string { return e("ints") + pick(w.Rand, ".sum()", ".min()", ".max()") },
			func() string { return e("wait") + pick(w.Rand, ".getSeconds()", ".getMinutes()") },
			func() string { return pick(w.Rand, "{'a': 1, 'b': 2}", "{'x': -1}") + "[" + e("string") + "]" },
			func() string {
				return "(" + e("int") + pick(w.Rand, " + ", " - ", " * ", " / ", " % ") + e("int") + ")"
			},
			func() string { return "-(" + e("int") + ")" },
			func() string {
				return pick(w.Rand, e("string"), e("strs"), e("ints"), e("items"), "self.map") + ".size()"
			},
			func() string { return e("ints") + "[" + e("int") + "]" })
	case "double":
		deeper = append(deeper, func() string { return "(" + e("double") + pick(w.Rand, " + ", " - ", " * ", " / ") + e("double") + ")" }, func() string { return "double(" + e(pick(w.Rand, "int", "string")) + ")" })
	case "string":
		deeper = append(deeper,
			func() string { return "(" + e("string") + " + " + e("string") + ")" },
			func() string { return e("string") + pick(w.Rand, ".lowerAscii()", ".upperAscii()") },
			func() string { return "string(" + e(pick(w.Rand, "int", "double", "bool", "string")) + ")" },
			func() string {
				return e("string") + pick(w.Rand, ".trim()", ".split(' ')[0]", ".find('^[a-z]*')", ".substring("+e("int")+")", ".substring("+e("int")+", "+e("int")+")", ".replace("+e("string")+", "+e("string")+")", ".charAt("+e("int")+")")
			},
			func() string { return "url(" + e("string") + ")" + pick(w.Rand, ".getHost()", ".getScheme()") },
			func() string { return w.optional("string", depth) + ".orValue(" + e("string") + ")" },
			func() string { return w.optional("string", depth) + ".value()" },
			func() string {
				return "'%s" + pick(w.Rand, " and ", "") + "%s'.format([" + e(pick(w.Rand, "string", "double", "bool", "int", "strs", "nums")) + ", " + e("string") + "])"
			},
			func() string { return w.mapping("string", depth) + "[" + e("string") + "]" },
			func() string { return e("strs") + pick(w.Rand, ".join()", ".join("+e("string")+")") },
			func() string { return e("strs") + "[" + e("int") + "]" },
			func() string { return "self.map[" + e("string") + "]" },
			func() string { return e("item") + pick(w.Rand, ".name", ".o.x", ".value") },
			func() string { return e("o") + ".x" })
	case "strs", "ints", "nums", "items":
		of := map[string]string{"strs": "string", "ints": "int", "nums": "double", "items": "item"}[kind]
		deeper = append(deeper,
			func() string { return w.loop("filter", kind, depth) },
			func() string { return w.loop("map", of, depth) },
			func() string { return "[" + e(of) + ", " + e(of) + "]" },
			func() string {
				if of == "double" {
					return "[" + e(of) + "]"
				}
				return "[" + pick(w.Rand, "", e(of)+", ") + "?" + w.optional(of, depth-1) + ", " + pick(w.Rand, e(of), "?"+w.optional(of, depth-1)) + "]"
			},
			func() string { return "(" + e("bool") + " ? " + e(kind) + " : [])" })
		switch kind {
		case "strs":
			deeper = append(deeper, func() string {
				return e("string") + pick(w.Rand, ".split(' ')", ".split("+e("string")+")", ".findAll('[a-z]+')")
			}, func() string { return "(" + e(kind) + " + " + e(kind) + ")" })
		case "ints":
			deeper = append(deeper, func() string { return "(" + e(kind) + " + " + e(kind) + ")" })
		}
	case "item":
		deeper = append(deeper, func() string { return e("items") + "[" + e("int") + "]" })
	}
	return deeper[w.IntN(len(deeper))]()
}

// optional is an expression of an optional of a kind: int, string, item, strs.
func (w *writer) optional(kind string, depth int) string {
	if depth == 0 {
		return pick(w.Rand, "optional.none()", map[string]string{"int": "self.?n", "string": "self.?t", "item": "self.items[?1]", "strs": "self.?strs"}[kind])
	}
	from := pick(w.Rand, "int", "string", "item", "strs")
	switch w.IntN(9) {
	case 7:
		return "optional.ofNonZeroValue(" + w.expr(kind, depth-1) + ")"
	case 8:
		if list := map[string]string{"int": "ints", "string": "strs", "item": "items"}[kind]; list != "" {
			return w.expr(list, depth-1) + pick(w.Rand, ".first()", ".last()")
		}
	case 0:
		return "optional.of(" + w.expr(kind, depth-1) + ")"
	case 1:
		return w.optional(kind, depth-1) + ".or(" + w.optional(kind, depth-1) + ")"
	case 2:
		return "(" + w.expr("bool", depth-1) + " ? " + w.optional(kind, depth-1) + " : " + w.optional(kind, depth-1) + ")"
	case 3, 4:
		of, name := w.optional(from, depth-1), w.name(from)
		defer w.forget()
		return of + ".optMap(" + name + ", " + w.expr(kind, depth-1) + ")"
	case 5:
		of, name := w.optional(from, depth-1), w.name(from)
		defer w.forget()
		return of + ".optFlatMap(" + name + ", " + w.optional(kind, depth-1) + ")"
	}
	switch kind {
	case "item":
		return "self.items[?" + w.expr("int", depth-1) + "]"
	case "string":
		return pick(w.Rand, "self.map[?", "self.?map[?", "self.one[?") + w.expr("string", depth-1) + "]"
	case "int":
		return pick(w.Rand, "self.counts[?"+w.expr("string", depth-1), "self.?ints[?"+w.expr("int", depth-1)) + "]"
	}
	return w.optional("item", depth-1) + ".optFlatMap(it, it.?tags)"
}

// name brings a variable of a kind into scope.
func (w *writer) name(kind string) string {
	name := fmt.Sprintf("v%d", len(w.vars))
	w.vars = append(w.vars, writtenVar{name, kind})
	return name
}

func (w *writer) forget() { w.vars = w.vars[:len(w.vars)-1] }

// mapping is an expression of a map to a kind.
func (w *writer) mapping(kind string, depth int) string {
	switch w.IntN(6) {
	case 4:
		return "{" + pick(w.Rand, "", "'a': "+w.expr(kind, depth-1)+", ") + "?" + w.expr("string", depth-1) + ": " + w.optional(kind, depth-1) + "}"
	case 5: // from one that is numbered
		return w.numbered(kind, depth) + ".transformMapEntry(i, x, i < 9, {string(i): x})"
	case 0:
		return "{'b': " + w.expr(kind, depth-1) + "}"
	case 1:
		return "{'a': " + w.expr(kind, depth-1) + ", " + w.expr("string", depth-1) + ": " + w.expr(kind, depth-1) + "}"
	case 2:
		name := w.name("string")
		defer w.forget()
		return "self.map.transformMap(" + name + "k, " + name + ", " + pick(w.Rand, "", w.expr("bool", depth-1)+", ") + w.expr(kind, depth-1) + ")"
	}
	items, name := w.expr("items", depth-1), w.name("item")
	defer w.forget()
	return items + ".transformMapEntry(" + name + "i, " + name + ", " + pick(w.Rand, "", w.expr("bool", depth-1)+", ") + "{" + w.expr("string", depth-1) + ": " + w.expr(kind, depth-1) + "})"
}

// numbered is an expression of a map from integers to a kind.
func (w *writer) numbered(kind string, depth int) string {
	if w.IntN(3) == 0 {
		return "{" + w.expr("int", depth-1) + ": " + w.expr(kind, depth-1) + ", ?" + w.expr("int", depth-1) + ": " + w.optional(kind, depth-1) + "}"
	}
	over := pick(w.Rand, "int", "string", "item")
	list, name := w.expr(map[string]string{"int": "ints", "string": "strs", "item": "items"}[over], depth-1), w.name(over)
	defer w.forget()
	if w.IntN(3) == 0 {
		return list + ".transformMapEntry(" + name + "i, " + name + ", {" + pick(w.Rand, name+"i", w.expr("int", depth-1)) + ": " + w.expr(kind, depth-1) + "})"
	}
	return list + ".transformMap(" + name + "i, " + name + ", " + pick(w.Rand, "", w.expr("bool", depth-1)+", ") + w.expr(kind, depth-1) + ")"
}

// known asks functions of cel-go and upstream's library.
func (w *writer) known(e func(kind string) string) string {
	switch w.IntN(8) {
	case 0:
		return "(" + e("wait") + pick(w.Rand, " < ", " <= ", " > ", " >= ", " == ", " != ") + e("wait") + ")"
	case 1:
		return pick(w.Rand, "isIP", "isCIDR", "isURL", "isQuantity", "isSemver") + "(" + e("string") + ")"
	case 2:
		return "format." + pick(w.Rand, "dns1123Label", "qualifiedName", "uri", "date") + "().validate(" + e("string") + ").hasValue()"
	case 3:
		return "quantity(" + e("string") + ")" + pick(w.Rand, ".isLessThan(", ".isGreaterThan(") + "quantity(" + e("string") + "))"
	case 4:
		return "(self.port " + pick(w.Rand, "< ", "== ", "!= ", ">= ") + e(pick(w.Rand, "int", "string")) + ")"
	case 5:
		return "(type(self.port) == " + pick(w.Rand, "int", "string") + ")"
	case 6:
		return "(" + pick(w.Rand, "string(self.port)", "self.s") + " == " + e("string") + ")"
	}
	k := pick(w.Rand, "strs", "ints", "nums")
	return pick(w.Rand, e(k)+".isSorted()", "("+e(k)+" == [])", "sets."+pick(w.Rand, "contains", "intersects", "equivalent")+"("+e(k)+", "+e(k)+")", "("+e(k)+" == "+e(k)+")", "cidr('10.0.0.0/8').containsIP("+e("string")+")")
}

// loop is a macro: over a kind of list for filter, to one of elements of a kind for map. A map that it goes over has one key,
// as cel-go takes several in another order each time, and what quantifiers cost changes with that.
func (w *writer) loop(macro, kind string, depth int) string {
	over := pick(w.Rand, "strs", "ints", "nums", "items", "one")
	if macro == "filter" {
		over = kind
	}
	list := "self.one"
	if over != "one" {
		list = w.expr(over, depth-1)
	}
	name := fmt.Sprintf("v%d", len(w.vars))
	w.vars = append(w.vars, writtenVar{name, map[string]string{"strs": "string", "ints": "int", "nums": "double", "items": "item", "one": "string"}[over]})
	defer func() { w.vars = w.vars[:len(w.vars)-1] }()
	body := w.expr("bool", depth-1)
	switch {
	case macro == "map" && w.IntN(2) == 0:
		body += ", " + w.expr(kind, depth-1)
	case macro == "map":
		body = w.expr(kind, depth-1)
	}
	if w.IntN(4) == 0 && macro != "filter" && macro != "exists_one" { // of two variables
		macro = map[string]string{"map": "transformList"}[macro] + strings.TrimPrefix(macro, "map")
		w.vars[len(w.vars)-1].kind = ""
		return list + "." + macro + "(" + name + "i, " + name + ", " + body + ")"
	}
	return list + "." + macro + "(" + name + ", " + body + ")"
}

// randomDoc is fullDoc with other values here and there.
func randomDoc(t testing.TB, r *rand.Rand) *object.Value {
	v := mustParse(t, fullDoc)
	others := map[string][]string{
		"s": {`"a"`, `""`, `"ünïcödé and more of it"`, `3`}, "t": {`null`, `"b"`}, "n": {`0`, `1`, `9223372036854775807`, `1.0`}, "m": {`-1`, `2`, `-9223372036854775808`}, "d": {`0`, `-0.5`, `1e300`}, "b": {`false`},
		"strs": {`[]`, `["b"]`, `["b","a","b"]`, `[1]`}, "ints": {`[]`, `[0]`, `[3,-1]`, `[4,1,4,2]`, `[1.5]`}, "nums": {`[]`, `[1,1.0]`}, "set": {`["a","b"]`, `["a"]`}, "items": {`[]`, `[{"name":"a"}]`, `[{"name":"b","value":"BB","n":2},{"name":"a","value":"A","n":1}]`, `[{"name":"a"},{"name":"a"}]`, `[{"name":"a"},{"name":"c"}]`, `[{"name":"a","n":2},{"name":"b"}]`, `[{"name":"b"},{"name":"a","n":2}]`, `[{"name":1},{"name":1.0}]`, `[{"n":1},{"name":null}]`, `[1,{"name":"a"}]`, `[{"name":"a","value":"B","tags":["t","u","t"]},{"name":"b","extra":"x","n":2},{"name":"c","more":{"x":"a"},"n":1},{"name":"d","o":{"x":"q","y":1}}]`},
		"map": {`{}`, `{"k":"a"}`}, "counts": {`{}`}, "o": {`{}`, `{"x":"y"}`, `null`}, "port": {`"http"`, `80`}, "wait": {`"1s"`, `"0s"`}, "span": {`"1h"`, `"-5m"`, `"x"`}, "ip": {`"::1"`, `"10.1.2.3/8"`}, "cpu": {`"2"`, `"1e3"`, `"cpu"`}, "url": {`"/a"`, `"http://10.1.2.3"`}, "when": {`"2021-01-01T00:00:00Z"`, `"2020-01-01T01:00:00+01:00"`},
	}
	for _, name := range slices.Sorted(maps.Keys(others)) { // in order: a seed gives the same documents each time
		choices := others[name]
		switch i := r.IntN(3 * len(choices)); {
		case i < len(choices):
			v.Set(name, *mustParse(t, choices[i]))
		case i == 3*len(choices)-1 && r.IntN(2) == 0:
			v.Remove(name)
		}
	}
	return v
}

// compareRandom compares one rule that is made up, and its opposite, on some documents.
func (c *celCase) compareRandom(t testing.TB, seed uint64) (compiled, decided, undecided int) {
	random := rand.New(rand.NewPCG(seed, 1))
	text := (&writer{Rand: random}).expr("bool", 1+random.IntN(4))
	if len(text) > 4000 {
		return 0, 0, 0
	}
	for _, text := range []string{text, "!(" + text + ")"} {
		r, err := c.compile(text, false)
		if err != nil {
			said := func(why string) bool { return strings.Contains(err.Error(), why) }
			if !said("'dyn'") && !said("no matching overload") && !said("is no bool") && !said("conversion error") && !said("invalid duration") && !said("expected type") && !said("error during formatting") {
				t.Fatalf("%s: %v", text, err)
			}
			continue
		}
		if r.compiled != nil {
			compiled++
		}
		for range 8 {
			ours, theirs := c.compare(t, text, r, randomDoc(t, random), randomDoc(t, random))
			switch {
			case ours:
				decided++
			case theirs:
				undecided++
			}
		}
	}
	return compiled, decided, undecided
}

// seeds has the tests with random rules look further than where all is known to be well: go test ./schema -args -seeds 10000
var seeds = flag.Int("seeds", 0, "how many seeds the tests with random rules take at least")

// TestCompiledRulesAsCELGo: rules that are made up hold as for cel-go, and most that hold are found to.
func TestCompiledRulesAsCELGo(t *testing.T) {
	c := newCELCase(t)
	var compiled, decided, undecided int
	rules := max(300, *seeds)
	for seed := range uint64(rules) {
		a, b, u := c.compareRandom(t, seed)
		compiled, decided, undecided = compiled+a, decided+b, undecided+u
	}
	t.Logf("%d of %d compiled; %d hold, %d others hold for cel-go alone", compiled, 2*rules, decided, undecided)
	if compiled < 2*rules*2/3 || undecided > decided/2 {
		t.Errorf("%d of %d compiled; %d hold, %d others hold for cel-go alone", compiled, 2*rules, decided, undecided)
	}
}
