package podtemplate

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/growthtest"
)

// TestPortWarningsAreBounded: ports that all conflict with each other are as many warnings as pairs of them.
func TestPortWarningsAreBounded(t *testing.T) {
	w := warner{root: field.NewPath("x")}
	grown := growthtest.Of(t, 20000, func(n int) func() {
		spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}
		for range n {
			spec.Containers[0].Ports = append(spec.Containers[0].Ports, corev1.ContainerPort{ContainerPort: 80, Protocol: "TCP"})
		}
		return func() {
			w.texts = nil
			w.ports(&spec)
		}
	})
	if len(w.texts) == 0 || len(w.texts) > maxWarnings || grown > growthtest.Square {
		t.Errorf("%d warnings, and four times as many ports take %.1f times as long", len(w.texts), grown)
	}
	if !strings.Contains(fmt.Sprint(w.texts), "duplicate port definition with") {
		t.Errorf("%.200s", w.texts)
	}
}

// TestLongListsAreCheckedOnce: what must not occur in another list is looked up, not searched for.
func TestLongListsAreCheckedOnce(t *testing.T) {
	const n = 2000
	var errs field.ErrorList
	grown := growthtest.Of(t, n, func(n int) func() {
		s, c := longLists(n)
		return func() {
			x := containerContext{}
			errs = x.initContainers(field.NewPath("i"), s)
			errs = append(errs, x.ephemeralContainers(field.NewPath("e"), s)...)
			errs = append(errs, x.mounts(field.NewPath("m"), c)...)
			errs = append(errs, x.devices(field.NewPath("d"), c)...)
			errs = append(errs, validatePorts(field.NewPath("p"), c.Ports)...)
			(&warner{}).ports(&corev1.PodSpec{Containers: []corev1.Container{*c}})
		}
	})
	if grown > growthtest.Square {
		t.Errorf("lists four times as long take %.1f times as long", grown)
	}
	found := make(map[string]bool)
	for _, err := range errs { // of n, which is measured last
		found[err.Error()] = true
	}
	for _, want := range []string{
		`i[1999].name: Duplicate value: "n5"`, `e[1999].name: Duplicate value: "in5"`, `p[1999].name: Duplicate value: "p5"`,
		`m[1999].name: Invalid value: "dn5": must not already exist in volumeDevices`,
		`m[1999].mountPath: Invalid value: "/dn5": must not already exist as a path in volumeDevices`,
		`d[5].name: Invalid value: "dn5": must not already exist in volumeMounts`,
		`d[5].devicePath: Invalid value: "/dn5": must not already exist as a path in volumeMounts`,
	} {
		if !found[want] {
			t.Errorf("no %s", want)
		}
	}
}

// longLists are n containers of each sort, and one with n mounts, devices and ports; the last of most lists is named as
// another.
func longLists(n int) (*corev1.PodSpec, *corev1.Container) {
	s, c := new(corev1.PodSpec), &corev1.Container{Name: "c"}
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
	return s, c
}
