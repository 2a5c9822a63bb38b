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

// TestLongListsAreCheckedOnce: what must not occur in another list is looked up, not searched for.
func TestLongListsAreCheckedOnce(t *testing.T) {
	const n = 20000
	var s corev1.PodSpec
	c := corev1.Container{Name: "c"}
	for i := range n {
		name := fmt.Sprint("n", i)
		s.Containers = append(s.Containers, corev1.Container{Name: name})
		s.InitContainers = append(s.InitContainers, corev1.Container{Name: "i" + name})
		s.EphemeralContainers = append(s.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e" + name}, TargetContainerName: "i" + name})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/" + name})
		c.VolumeDevices = append(c.VolumeDevices, corev1.VolumeDevice{Name: "d" + name, DevicePath: "/d" + name})
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: fmt.Sprintf("p%d", i), ContainerPort: 80, HostPort: int32(i + 1)})
	}
	s.InitContainers[n-1].Name, s.EphemeralContainers[n-1].Name = "n5", "in5"
	c.VolumeMounts[n-1], c.Ports[n-1].Name = corev1.VolumeMount{Name: "dn5", MountPath: "/dn5"}, "p5"
	x := containerContext{}
	began := time.Now()
	errs := x.initContainers(field.NewPath("i"), &s)
	errs = append(errs, x.ephemeralContainers(field.NewPath("e"), &s)...)
	errs = append(errs, x.mounts(field.NewPath("m"), &c)...)
	errs = append(errs, x.devices(field.NewPath("d"), &c)...)
	errs = append(errs, validatePorts(field.NewPath("p"), c.Ports)...)
	(&warner{}).ports(&corev1.PodSpec{Containers: []corev1.Container{c}})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	found := make(map[string]bool)
	for _, err := range errs {
		found[err.Error()] = true
	}
	for _, want := range []string{
		`i[19999].name: Duplicate value: "n5"`, `e[19999].name: Duplicate value: "in5"`, `p[19999].name: Duplicate value: "p5"`,
		`m[19999].name: Invalid value: "dn5": must not already exist in volumeDevices`,
		`m[19999].mountPath: Invalid value: "/dn5": must not already exist as a path in volumeDevices`,
		`d[5].name: Invalid value: "dn5": must not already exist in volumeMounts`,
		`d[5].devicePath: Invalid value: "/dn5": must not already exist as a path in volumeMounts`,
	} {
		if !found[want] {
			t.Errorf("no %s", want)
		}
	}
}
