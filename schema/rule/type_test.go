package rule

import (
	"testing"

	"github.com/google/cel-go/common/types"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiserver/pkg/cel/common"

	"pintle.dev/object"
)

// TestUpstream: values that are made here are those that upstream makes.
func TestUpstream(t *testing.T) {
	values := []string{`""`, `"x"`, `1`, `1.0`, `1.5`, `-9223372036854775808`, `18446744073709551616`, `true`, `null`, `[]`, `{}`,
		`"1h"`, `"-1.5h"`, `"1m30s"`, `"+5s"`, `"0"`, `"1"`, `"1d"`, `"2 weeks"`, `"3 HR"`, `"1h2"`, `"9223372036854775808ns"`, `"1\u00b5s"`,
		`"2020-01-01T00:00:00Z"`, `"2020-01-01t00:00:00z"`, `"2020-01-01 00:00:00Z"`, `"2020-01-01T00:00:00"`, `"2020-01-01T00:00:00+01:30"`, `"2020-01-01T00:00:00+24:00"`, `"2020-01-01T00:00:00+0130"`,
		`"2020-01-01T00:00:00.1Z"`, `"2020-01-01T00:00:00.123Z"`, `"2020-01-01T00:00:00,123Z"`, `"2020-01-01T00:00:00.123456Z"`, `"2020-01-01T00:00:00.123456-02:00"`, `"2020-01-01T00:00:00.123456789Z"`, `"2020-01-01T00:00:00.1234567891Z"`,
		`"2020-02-30T00:00:00Z"`, `"2020-01-01T24:00:00Z"`, `"2020-01-01T23:59:60Z"`, `"2020-01-01T0:00:00Z"`, `"0000-01-01T00:00:00Z"`, `"10000-01-01T00:00:00Z"`, `"2020-01-01"`, `"YQ=="`, `"YQ"`}
	for _, format := range []string{"duration", "date-time", "date", "byte", intOrString} {
		for _, nullable := range []bool{false, true} {
			s := &structuralschema.Structural{Generic: structuralschema.Generic{Type: "string", Nullable: nullable}, ValueValidation: &structuralschema.ValueValidation{Format: format}}
			if format == intOrString {
				s = &structuralschema.Structural{Generic: structuralschema.Generic{Nullable: nullable}, Extensions: structuralschema.Extensions{XIntOrString: true}}
			}
			schema := &model.Structural{Structural: s}
			typ := TypeOf(schema)
			for _, text := range values {
				v, err := object.Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				want, got := common.UnstructuredToVal(v.ToAny(), schema), typ.upstream(v)
				if isError(want) != isError(got) || !isError(want) && (want.Type() != got.Type() || want.Equal(got) != types.True) {
					t.Errorf("%s, nullable %t: %s is %v, want %v", format, nullable, text, got, want)
				}
				if !v.IsNull() && typ.admits(v) == isError(want) {
					t.Errorf("%s: %s admitted: %t", format, text, isError(want))
				}
			}
		}
	}
}
