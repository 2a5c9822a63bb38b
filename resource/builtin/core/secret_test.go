package core

import (
	"crypto/tls"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/resource"
)

// TestSecretWarnings: a key pair that cannot serve is stored, but its writer is told.
func TestSecretWarnings(t *testing.T) {
	_, useless := tls.X509KeyPair(nil, nil)
	for _, c := range []struct {
		of   corev1.SecretType
		want []string
	}{
		{corev1.SecretTypeTLS, []string{useless.Error()}},
		{corev1.SecretTypeOpaque, nil},
	} {
		o, err := resource.TypedObject(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Type: c.of})
		if err != nil {
			t.Fatal(err)
		}
		if got := Secrets().Hooks.Warn(t.Context(), &resource.Write{New: o}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.of, got, c.want)
		}
	}
}
