package schema

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"

	"pintle.dev/object"
)

// unworded is upstream's own validator.
func unworded(v validation.SchemaValidator) validation.SchemaValidator {
	return validation.NewSchemaValidatorFromOpenAPI(v.(wording).schema)
}

// TestWordingOrder: errors of values stand in upstream's order, each text once, and those of members are counted where
// alternatives are.
func TestWordingOrder(t *testing.T) {
	const item = `{"type":"object","required":["a"],"minProperties":3,"properties":{"a":{"type":"string","pattern":"^x"}},"allOf":[{"properties":{"a":{"pattern":"^x"}}},{"properties":{"a":{"maxLength":1}}}]}`
	for _, source := range []string{
		`{"type":"object","properties":{"l":{"type":"array","maxItems":1,"enum":[["q"]],"items":` + item + `}}}`,
		`{"type":"object","properties":{"l":{"type":"array","items":` + item + `,"anyOf":[{"minItems":9},{"items":{"required":["b","c"]}}],"oneOf":[{"maxItems":9},{"maxItems":8}],"not":{"minItems":1}}}}`,
		`{"type":"object","maxProperties":0,"properties":{"l":{"type":"array","items":{"type":"array","minItems":3,"items":{"type":"integer"}}}}}`,
	} {
		s := mustCompile(t, source)
		u, err := s.upstream()
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range []string{`{"l":[{},{"a":"yy"},{"a":1,"b":2,"c":3},{"a":"x"}]}`, `{"l":[["a",1],[],[1,2,"b"]]}`, `{"l":{}}`, `{"l":[null]}`} {
			v := mustParse(t, doc).ToAny().(map[string]any)
			got, want := validation.ValidateCustomResource(nil, v, u.validator), validation.ValidateCustomResource(nil, v, unworded(u.validator))
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s by %s:\n%v\nwant\n%v", doc, source, got, want)
			}
		}
	}
}

// TestManyErrors: a document of which everything is wrong is refused in time proportional to its length. By upstream's way
// this test takes minutes.
func TestManyErrors(t *testing.T) {
	const n = 10_000
	s := mustCompile(t, `{"type":"object","properties":{"l":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string","pattern":"^x"}}}},"m":{"type":"object","additionalProperties":{"type":"integer","minimum":1}},
		"o":{"type":"array","items":{"type":"string"},"anyOf":[{"minItems":1000000},{"items":{"maxLength":0}}],"allOf":[{"items":{"pattern":"^x"}}]}}}`)
	doc := object.NewMap()
	doc.Set("l", *mustParse(t, "["+strings.Repeat(`{"a":"y"},`, n-1)+`{"a":"y"}]`))
	doc.Set("o", *mustParse(t, "["+strings.Repeat(`"y",`, n-1)+`"y"]`))
	var members strings.Builder
	for i := range n {
		fmt.Fprintf(&members, `"k%d":0,`, i)
	}
	doc.Set("m", *mustParse(t, "{"+strings.TrimSuffix(members.String(), ",")+"}"))
	const want = 2*n + 2*n + 2 // an alternative of anyOf, allOf's, and what is said of each
	if errs := s.Validate(t.Context(), Check{New: &doc}); len(errs) != want {
		t.Errorf("%d errors, want %d", len(errs), want)
	}
	// None is new in what is as it was.
	if errs := s.Validate(t.Context(), Check{New: &doc, Old: &doc}); len(errs) != 0 {
		t.Errorf("%d errors when nothing changes", len(errs))
	}
}

// TestWordingEnds: however much is wrong with a document, what is said of it is bounded, and so is the time it takes.
func TestWordingEnds(t *testing.T) {
	values := make([]string, 5000)
	for i := range values {
		values[i] = fmt.Sprintf(`"v%d"`, i)
	}
	enum := `{"type":"string","enum":[` + strings.Join(values, ",") + `]}`
	either := `{"type":"integer","oneOf":[` + strings.Repeat(`{"anyOf":[`+strings.Repeat(`{"minimum":9},`, 9)+`{"minimum":9}],"not":{"minimum":1}},`, 9) + `{"minimum":9}]}`
	for _, c := range []struct{ items, item string }{{enum, `"bad"`}, {either, `5`}} {
		s := mustCompile(t, `{"type":"object","properties":{"l":{"type":"array","items":`+c.items+`},"m":{"type":"integer"}}}`)
		doc := mustParse(t, `{"l":[`+strings.Repeat(c.item+",", 50_000)+c.item+`],"m":"x"}`)
		if errs := s.Validate(t.Context(), Check{New: doc, Old: doc}); len(errs) > 0 {
			t.Errorf("of what is as it was: %.300v", errs)
		}
		errs := s.Validate(t.Context(), Check{New: doc})
		text := 0
		for _, err := range errs {
			text += len(err.Error())
		}
		if len(errs) < 10 || text > 2*maxWordedText || errs[len(errs)-1].Detail != errMoreWrong.Error() {
			t.Errorf("%d errors of %d bytes, the last %.200v", len(errs), text, errs[len(errs)-1])
		}
	}
}

// TestWordingGoesWhereItIsWrong: values with which nothing is wrong do not count.
func TestWordingGoesWhereItIsWrong(t *testing.T) {
	s := mustCompile(t, `{"type":"object","properties":{"l":{"type":"array","items":{"type":"array","items":{"type":"integer","oneOf":[{"minimum":5},{"maximum":3}]}}}}}`)
	doc := mustParse(t, `{"l":[`+strings.Repeat(`[1,2],`, 2*maxWordedValues)+`[1,4]]}`)
	errs := s.Validate(t.Context(), Check{New: doc})
	if len(errs) != 2 || !strings.Contains(errs[0].Detail, fmt.Sprintf("l[%d][1]", 2*maxWordedValues)) {
		t.Errorf("%v", errs)
	}
}

// TestWordingOfTheDeep: saying what is wrong deep in a document does not take a look at all of it for each value that it is in,
// which would take a hundred times as long as this test.
func TestWordingOfTheDeep(t *testing.T) {
	const depth, n = 1000, 20_000
	s := mustCompile(t, strings.Repeat(`{"type":"object","properties":{"a":`, depth)+`{"type":"array","items":{"type":"integer","minimum":3}}`+strings.Repeat(`}}`, depth))
	doc := mustParse(t, strings.Repeat(`{"a":`, depth)+`[`+strings.Repeat("5,", n)+`1]`+strings.Repeat(`}`, depth))
	if errs := s.Validate(t.Context(), Check{New: doc}); len(errs) != 1 || !strings.Contains(errs[0].Detail, fmt.Sprintf("[%d] in body should be greater than or equal to 3", n)) {
		t.Errorf("%.300v", errs)
	}
}
