package resource

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/jsonpath"

	"pintle.dev/object"
)

// fieldPath is a JSONPath as columns and selectable fields use it. The usual ones, of names, indexes and comparisons
// with a string (".status.conditions[?(@.type=="Ready")].status"), are followed in place; for all others the document is
// handed to upstream's interpreter.
type fieldPath struct {
	steps  []step
	text   string // of a path that is left to upstream; "" otherwise
	broken bool
}

// step is one of: a member, an item, or a choice among items.
type step struct {
	name   string   // member
	index  int      // item, when name is "" and where is nil
	where  []string // choice: the member of an item, by names, that must equal
	equals string
}

var (
	nameStep   = regexp.MustCompile(`^\.([A-Za-z0-9_/-]+)`)
	keyStep    = regexp.MustCompile(`^\['([A-Za-z0-9_-]+)'\]`)
	indexStep  = regexp.MustCompile(`^\[([0-9]{1,6})\]`)
	filterStep = regexp.MustCompile(`^\[\?\(@((?:\.[A-Za-z0-9_-]+)+) ?== ?(?:"([^"\\]*)"|'([^'\\]*)')\)\]`)
)

func parsePath(text string) *fieldPath {
	p := new(fieldPath)
	for rest := text; rest != ""; {
		var m []string
		switch {
		case find(&m, nameStep, rest):
			p.steps = append(p.steps, step{name: m[1]})
		case find(&m, keyStep, rest):
			p.steps = append(p.steps, step{name: m[1]})
		case find(&m, indexStep, rest):
			n, _ := strconv.Atoi(m[1]) // at most six digits
			p.steps = append(p.steps, step{index: n})
		case find(&m, filterStep, rest):
			p.steps = append(p.steps, step{where: strings.Split(m[1][1:], "."), equals: m[2] + m[3]})
		default:
			path := jsonpath.New("column")
			return &fieldPath{text: text, broken: path.Parse("{"+text+"}") != nil}
		}
		rest = rest[len(m[0]):]
	}
	return p
}

func find(m *[]string, re *regexp.Regexp, s string) bool {
	*m = re.FindStringSubmatch(s)
	return *m != nil
}

// find is the first value at the path in an object, whose metadata is no part of its document.
func (p *fieldPath) find(o *Object) *object.Value {
	doc := *documentOf(o)
	if p.text != "" || len(p.steps) > 0 && p.steps[0].name == "metadata" {
		if meta, err := MetaValue(o.Meta); err == nil {
			doc = doc.Clone()
			doc.Set("metadata", *meta)
		}
	}
	return p.first(&doc)
}

// first is the first value at the path in a document; nil when there is none or the path does not fit the document.
func (p *fieldPath) first(doc *object.Value) *object.Value {
	if p.text != "" {
		return p.foreign(doc)
	}
	return follow(doc, p.steps)
}

// fields appends what the path looks at, for an object.Pick: names, through all items of lists. Upstream's interpreter
// may look anywhere.
func (p *fieldPath) fields(paths [][]string) [][]string {
	var names []string
	for _, s := range p.steps {
		switch {
		case s.name != "":
			names = append(names, s.name)
		case s.where != nil:
			paths = append(paths, slices.Concat(names, s.where))
		}
	}
	return append(paths, names)
}

func follow(v *object.Value, steps []step) *object.Value {
	for i, s := range steps {
		switch {
		case v == nil:
			return nil
		case s.name != "":
			v = v.Get(s.name)
		case s.where != nil:
			return choose(v, s, steps[i+1:])
		case v.Kind() != object.List:
			return nil
		default:
			v = v.Index(s.index)
		}
	}
	return v
}

// choose follows the rest of a path from the first chosen item that has it.
func choose(list *object.Value, s step, rest []step) *object.Value {
	if list.Kind() != object.List {
		return nil
	}
	var found *object.Value
	for _, item := range list.Items() {
		m := item.Path(s.where...)
		switch {
		case m == nil:
		case m.Kind() != object.String:
			// Upstream's interpreter refuses to compare different types, and then there is no value at all.
			return nil
		case m.Str() == s.equals && found == nil:
			found = follow(item, rest)
		}
	}
	return found
}

// foreign asks upstream's interpreter.
func (p *fieldPath) foreign(doc *object.Value) *object.Value {
	if p.broken {
		return nil
	}
	path := jsonpath.New("column").AllowMissingKeys(true)
	if path.Parse("{"+p.text+"}") != nil {
		return nil
	}
	results, err := path.FindResults(doc.ToAny())
	if err != nil || len(results) == 0 || len(results[0]) == 0 {
		return nil
	}
	v, err := object.FromAny(results[0][0].Interface())
	if err != nil {
		return nil
	}
	return &v
}

// printed is a value as text, as Go's fmt prints it: what fields are selected by. Nothing is "".
func printed(v *object.Value) string {
	switch v.Kind() {
	case object.Null:
		return ""
	case object.String:
		return v.Str()
	case object.List, object.Map:
		return string(object.AppendJSON(nil, v))
	}
	return fmt.Sprint(v.ToAny())
}

// column is a declared column of the Table form.
type column struct {
	apiextensionsv1.CustomResourceColumnDefinition
	path func() *fieldPath
}

// cell is the column's value for an object, after its declared type; nil where the object has none of that type.
func (c *column) cell(doc *object.Value) any {
	if c.JSONPath == ".metadata.creationTimestamp" && c.Type == "date" {
		return AgeIn(doc)
	}
	v := c.path().first(doc)
	if v == nil {
		return nil
	}
	switch c.Type {
	case "string":
		return printedCell(v)
	case "integer":
		if v.Kind() == object.Number {
			if v.IsFloat() {
				return int64(v.Float())
			}
			n, _ := v.Int()
			return n
		}
	case "number":
		if v.Kind() == object.Number {
			return v.Float()
		}
	case "boolean":
		if v.Kind() == object.Bool {
			return v.Bool()
		}
	case "date":
		if v.Kind() == object.String {
			var t metav1.Time
			if err := t.UnmarshalQueryParameter(v.Str()); err != nil {
				return "<invalid>"
			}
			return Age(t)
		}
	}
	return nil
}

// printedCell is a value in a column of strings, whatever its type.
func printedCell(v *object.Value) any {
	switch v.Kind() {
	case object.Null:
		return "<no value>"
	case object.Map, object.List:
		b, err := json.Marshal(v.ToAny())
		if err != nil {
			return nil
		}
		return string(b)
	}
	return printed(v)
}
