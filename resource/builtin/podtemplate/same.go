package podtemplate

import (
	"bytes"

	"k8s.io/apimachinery/pkg/api/equality"
)

// Same reports whether two API values are equal as far as the API can tell: nil and empty lists are, and quantities
// written differently. Most writes leave a spec alone, and equal protobuf says so at a tenth of reflection's price;
// values that differ in it are compared again by reflection.
func Same[T interface{ Marshal() ([]byte, error) }](a, b T) bool {
	x, err := a.Marshal()
	if err != nil {
		return equality.Semantic.DeepEqual(a, b)
	}
	y, err := b.Marshal()
	return err == nil && bytes.Equal(x, y) || equality.Semantic.DeepEqual(a, b)
}
