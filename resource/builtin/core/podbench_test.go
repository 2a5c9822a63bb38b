package core

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/podtemplate"
)

// typicalPod is a pod of a Deployment as it passes through a create.
const typicalPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d8f7c9b4-abcde","namespace":"default","labels":{"app":"web","pod-template-hash":"5d8f7c9b4"}},
"spec":{"containers":[{"name":"web","image":"registry.example.com/team/web:v1.2.3","ports":[{"name":"http","containerPort":8080}],
"env":[{"name":"A","value":"1"},{"name":"POD_IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},{"name":"KEY","valueFrom":{"secretKeyRef":{"name":"keys","key":"k"}}}],
"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}},
"readinessProbe":{"httpGet":{"path":"/ready","port":"http"}},
"securityContext":{"runAsNonRoot":true,"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}},
"volumeMounts":[{"name":"config","mountPath":"/etc/web"},{"name":"kube-api-access-x2k4p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]}],
"serviceAccountName":"default",
"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],
"volumes":[{"name":"config","configMap":{"name":"web"}},{"name":"kube-api-access-x2k4p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"fieldPath":"metadata.namespace"}}]}}]}}]}}`

func decodePod(tb testing.TB, text string) *corev1.Pod {
	tb.Helper()
	o, problems, err := Pods().Versions[0].Codec.Decode([]byte(text), false)
	if err != nil || len(problems) > 0 {
		tb.Fatal(err, problems)
	}
	return o.Value.(*corev1.Pod)
}

func BenchmarkPod(b *testing.B) {
	ctx := context.Background()
	pod := decodePod(b, typicalPod)
	w := &resource.Write{Request: &api.Request{Body: []byte(typicalPod)}}
	preparePod(ctx, w, pod, nil)
	defaultPod(pod)
	old := pod.DeepCopy()
	b.Run("prepare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			preparePod(ctx, w, pod, nil)
		}
	})
	b.Run("default", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			defaultPod(pod)
		}
	})
	b.Run("validate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if errs := validatePod(ctx, w, pod, nil); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
	b.Run("warn", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if texts := warnPod(ctx, w, pod, nil); len(texts) > 0 {
				b.Fatal(texts)
			}
		}
	})
	b.Run("update-same-spec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if errs := validatePod(ctx, w, pod, old); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
	b.Run("status", func(b *testing.B) {
		b.ReportAllocs()
		w := &resource.Write{Subresource: "status"}
		for b.Loop() {
			preparePod(ctx, w, pod, old)
			if errs := validatePod(ctx, w, pod, old); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		o := &resource.Object{Meta: &pod.ObjectMeta, Value: pod}
		for b.Loop() {
			for i := range podIndex {
				podIndex[i].Values(o)
			}
		}
	})
	b.Run("template", func(b *testing.B) {
		b.ReportAllocs()
		t := &corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
		p := field.NewPath("spec", "template")
		for b.Loop() {
			if errs := podtemplate.ValidateTemplate(p, t); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
}
