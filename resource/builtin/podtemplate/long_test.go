package podtemplate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TestPortWarningsAreBounded: ports that all conflict with each other are as many warnings as pairs of them.
func TestPortWarningsAreBounded(t *testing.T) {
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}
	for range 20000 {
		spec.Containers[0].Ports = append(spec.Containers[0].Ports, corev1.ContainerPort{ContainerPort: 80, Protocol: "TCP"})
	}
	began := time.Now()
	w := warner{root: field.NewPath("x")}
	w.ports(&spec)
	if took := time.Since(began); len(w.texts) == 0 || len(w.texts) > maxWarnings || took > 3*time.Second {
		t.Errorf("%d warnings after %v", len(w.texts), took)
	}
	if !strings.Contains(fmt.Sprint(w.texts), "duplicate port definition with") {
		t.Errorf("%.200s", w.texts)
	}
}
