package resource

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"pintle.dev/object"
)

// NameColumn and AgeColumn begin and end the Table form of most kinds.
var (
	NameColumn = metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]}
	AgeColumn  = metav1.TableColumnDefinition{Name: "Age", Type: "string", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]}
)

// PickedCells is a Hooks.Cells for objects that cost more to decode than is shown of them: cells sees the JSON of what
// fields choose.
func PickedCells(fields *object.Pick, cells func(doc *object.Value) []any) func(*Version, []byte) ([]any, []metav1.TableRowCondition, error) {
	return func(_ *Version, doc []byte) ([]any, []metav1.TableRowCondition, error) {
		part, err := fields.Parse(doc)
		if err != nil {
			return nil, nil, err
		}
		return cells(part), nil, nil
	}
}

// NameIn and AgeIn are the first and the last cell of most kinds, in an object's JSON.
func NameIn(doc *object.Value) string { return doc.Path("metadata", "name").Str() }

// AgeIn is Age of metadata.creationTimestamp.
func AgeIn(doc *object.Value) string {
	at, err := time.Parse(time.RFC3339, doc.Path("metadata", "creationTimestamp").Str())
	if err != nil {
		return Age(metav1.Time{}) // an object that was never stored has none
	}
	return Age(metav1.NewTime(at))
}

// Age is the time since t as kubectl prints it: "3m20s", "2y10d", or "<unknown>" for no time.
func Age(t metav1.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(t.Time))
}
