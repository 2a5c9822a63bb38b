package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/client"
	"pintle.dev/node/nodetest"
)

func TestExpand(t *testing.T) {
	env := []Variable{{"A", "1"}, {"B", "2"}, {"A", "3"}}
	for in, want := range map[string]string{
		"plain": "plain", "$(A)$(B)": "32", "$$(A)": "$(A)", "$(NONE)": "$(NONE)", "$(A": "$(A", "a$": "a$", "$A": "$A", "$$": "$", "x$(A)y$$$(B)": "x3y$2",
	} {
		if got := Expand([]string{in}, env)[0]; got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	c := nodetest.New()
	ctx := t.Context()
	for _, create := range []func() error{
		func() error {
			_, err := client.ConfigMaps.Create(ctx, c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm", Namespace: "ns"}, Data: map[string]string{"K": "v", "OVER": "cm"}})
			return err
		},
		func() error {
			_, err := client.Secrets.Create(ctx, c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "ns"}, Data: map[string][]byte{"P": []byte("secret")}})
			return err
		},
		func() error {
			_, err := client.Services.Create(ctx, c, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "my-db", Namespace: "ns"},
				Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.9", Ports: []corev1.ServicePort{{Name: "sql", Port: 5432, Protocol: corev1.ProtocolTCP}}}})
			return err
		},
	} {
		if err := create(); err != nil {
			t.Fatal(err)
		}
	}
	a := &Agent{cfg: Config{Client: c}, events: client.NewRecorder(c, "kubelet", "n")}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", Labels: map[string]string{"app": "x"}}}
	build := func(spec *corev1.Container) (map[string]string, error) {
		b := environment{agent: a, pod: pod, spec: spec}
		vars, err := b.build(ctx)
		m := map[string]string{}
		for _, v := range vars {
			m[v.Name] = v.Value
		}
		return m, err
	}
	got, err := build(&corev1.Container{
		EnvFrom: []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}},
			{Prefix: "S_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}},
		},
		Env: []corev1.EnvVar{
			{Name: "OVER", Value: "env"}, {Name: "REF", Value: "$(K)-$(OVER)-$(MY_DB_SERVICE_HOST)"},
			{Name: "LABEL", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}},
			{Name: "CPU", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu", Divisor: resource.MustParse("1m")}}},
			{Name: "KEY", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Key: "K"}}},
		},
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"K": "v", "OVER": "env", "S_P": "secret", "REF": "v-env-10.96.0.9", "LABEL": "x", "CPU": "1500", "KEY": "v",
		"MY_DB_SERVICE_PORT_SQL": "5432", "MY_DB_PORT_5432_TCP": "tcp://10.96.0.9:5432", "MY_DB_PORT_5432_TCP_ADDR": "10.96.0.9"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	ref := func(name, key string, optional bool) *corev1.Container {
		return &corev1.Container{Env: []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional}}}}}
	}
	for _, tt := range []struct {
		spec *corev1.Container
		want string
	}{
		{ref("none", "P", false), `secret "none" not found`},
		{ref("s", "Q", false), "couldn't find key Q in Secret ns/s"},
		{ref("none", "P", true), ""}, {ref("s", "Q", true), ""},
	} {
		if _, err := build(tt.spec); fmt.Sprint(err) != tt.want && (err != nil || tt.want != "") {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
	if err := a.events.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestTally(t *testing.T) {
	for _, tt := range []struct {
		success, failure int32
		results, want    string // + and -; the outcome's changes by position
	}{
		{1, 3, "+--+---+", "S.....FS"},
		{2, 1, "+-++", ".F.S"},
		{1, 1, "--", "F."},
	} {
		m := tally{success: tt.success, failure: tt.failure}
		var got strings.Builder
		for _, r := range tt.results {
			o, changed := m.add(r == '+')
			switch {
			case !changed:
				got.WriteByte('.')
			case o == Success:
				got.WriteByte('S')
			default:
				got.WriteByte('F')
			}
		}
		if got.String() != tt.want {
			t.Errorf("%s with %d/%d: %s, want %s", tt.results, tt.success, tt.failure, got.String(), tt.want)
		}
	}
}

func TestImageNamesAndPolicies(t *testing.T) {
	for in, want := range map[string]string{"nginx": "nginx:latest", "nginx:1": "nginx:1", "r.example:5000/a/b": "r.example:5000/a/b:latest",
		"UPPER": "", "a b": ""} {
		if got, err := imageName(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, tt := range []struct {
		policy              corev1.PullPolicy
		present             bool
		wantPull, wantError bool
	}{
		{corev1.PullAlways, true, true, false}, {corev1.PullIfNotPresent, true, false, false}, {corev1.PullIfNotPresent, false, true, false},
		{corev1.PullNever, true, false, false}, {corev1.PullNever, false, false, true},
	} {
		if pull, missing := pulls(&corev1.Container{ImagePullPolicy: tt.policy}, tt.present); pull != tt.wantPull || missing != tt.wantError {
			t.Errorf("%s, present %v: pull %v, missing %v", tt.policy, tt.present, pull, missing)
		}
	}
}

func TestLogins(t *testing.T) {
	s := &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(
		`{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"r.example":{"username":"a","password":"b"},"r.example/team":{"username":"t"}}}`)}}
	for image, want := range map[string]string{"nginx": "u:p", "r.example/x": "a:b", "r.example/team/x": "t: a:b", "r.example.org/x": ""} {
		named, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range logins(s, named) {
			got = append(got, c.Username+":"+c.Password)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var b Backoff
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		b = b.next(at)
		if b.Delay != want*time.Second {
			t.Fatalf("delay %v, want %v", b.Delay, want*time.Second)
		}
		at = at.Add(time.Second)
	}
	if got := b.until(at); got != at.Add(5*time.Minute) {
		t.Errorf("until %v", got)
	}
	if got := b.until(at.Add(time.Hour)); got != at.Add(time.Hour) {
		t.Errorf("long after its last use it still delays: %v", got)
	}
}

func TestQOSAndScores(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	for _, tt := range []struct {
		r     corev1.ResourceRequirements
		want  corev1.PodQOSClass
		score int64
	}{
		{corev1.ResourceRequirements{}, corev1.PodQOSBestEffort, 1000},
		{corev1.ResourceRequirements{Limits: list("1", "1Gi")}, corev1.PodQOSGuaranteed, -997},
		{corev1.ResourceRequirements{Requests: list("1", "1Gi"), Limits: list("1", "2Gi")}, corev1.PodQOSBurstable, 750},
		{corev1.ResourceRequirements{Requests: list("1", "4Gi")}, corev1.PodQOSBurstable, 3},
		{corev1.ResourceRequirements{Requests: list("1", "1")}, corev1.PodQOSBurstable, 999},
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: tt.r}}}}
		if got, score := QOS(p), OOMScore(p, &p.Spec.Containers[0], 4<<30); got != tt.want || score != tt.score {
			t.Errorf("%+v: %s %d, want %s %d", tt.r, got, score, tt.want, tt.score)
		}
	}
}
