package scheduling

import (
	"context"
	"testing"

	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSystemClasses(t *testing.T) {
	for _, c := range SystemPriorityClasses() {
		if errs := validatePriorityClass(context.Background(), nil, c, nil); len(errs) > 0 {
			t.Errorf("%s: %v", c.Name, errs)
		}
	}
	const reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: "
	for _, c := range []struct {
		class schedulingv1.PriorityClass
		want  string
	}{
		{schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: NodeCritical}, Value: 1}, reserved + "value of system-node-critical PriorityClass must be 2000001000"},
		{schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: ClusterCritical}, Value: 2000000000, GlobalDefault: true}, reserved + "globalDefault of system-cluster-critical PriorityClass must be false"},
		{schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "system-x"}}, reserved + "system-x is not a known system priority class"},
		{schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Value: 1000000001}, "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"},
	} {
		if err := validatePriorityClass(context.Background(), nil, &c.class, nil).ToAggregate(); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.class.Name, err, c.want)
		}
	}
}
