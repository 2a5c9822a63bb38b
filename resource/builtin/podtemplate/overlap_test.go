package podtemplate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestOverlappingPaths(t *testing.T) {
	items := func(paths ...string) string {
		var list []string
		for _, p := range paths {
			list = append(list, fmt.Sprintf(`{"key":"k","path":%q,"fieldRef":{"fieldPath":"metadata.name"}}`, p))
		}
		return `"items":[` + strings.Join(list, ",") + `]`
	}
	for _, c := range []struct {
		volume string
		want   []string
	}{
		{`"configMap":{"name":"m",` + items("a", "b", "ab", "a-b") + `}`, nil},
		{`"configMap":{"name":"m",` + items("a", "a/b", "a") + `}`, []string{
			`volume "v" (ConfigMap "m"): overlapping paths: "a/b" with "a"`, `volume "v" (ConfigMap "m"): overlapping paths: "a" with "a"`,
			`volume "v" (ConfigMap "m"): overlapping paths: "a" with "a/b"`}},
		{`"secret":{"secretName":"s",` + items("x/y/z", "x/y/") + `}`, []string{`volume "v" (Secret "s"): overlapping paths: "x/y" with "x/y/z"`}},
		{`"secret":{"secretName":"s",` + items("", "", "/") + `}`, nil},
		{`"downwardAPI":{` + items("a", "a") + `}`, []string{`volume "v" (DownwardAPI): overlapping paths: "a" with "a"`}},
		{`"projected":{"sources":[{"secret":{"name":"s",` + items("p") + `}},{"configMap":{"name":"m"}},{"configMap":{"name":"m",` + items("p/q") + `}},{"downwardAPI":{` + items("p/q/r") + `}}]}`, []string{
			`volume "v" (Projected): overlapping paths: "p/q" (ConfigMap "m") with "p" (Secret "s")`,
			`volume "v" (Projected): overlapping paths: "p/q/r" (DownwardAPI) with "p" (Secret "s")`,
			`volume "v" (Projected): overlapping paths: "p/q/r" (DownwardAPI) with "p/q" (ConfigMap "m")`}},
	} {
		p := pod(t, `{"volumes":[{"name":"v",`+c.volume+`}]}`)
		if got := WarnPod(p); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n  %s\nwant:\n  %s", c.volume, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		}
	}
}

// TestOverlapsAreBounded keeps a volume of many files, which nothing else limits, from taking the time of all their pairs.
func TestOverlapsAreBounded(t *testing.T) {
	same := make([]corev1.KeyToPath, 100_000)
	for i := range same {
		same[i] = corev1.KeyToPath{Key: "k", Path: "p"}
	}
	p := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{Items: same}}}}}}
	if n := len(WarnPod(p)); n != maxWarnings {
		t.Errorf("%d warnings", n)
	}
	for i := range same {
		same[i].Path = fmt.Sprint("p", i)
	}
	if got := WarnPod(p); got != nil {
		t.Errorf("warned: %v", got[0])
	}
}
