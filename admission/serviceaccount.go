package admission

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	corev1 "k8s.io/api/core/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/resource"
)

const (
	tokenVolumePrefix = "kube-api-access-"
	tokenMountPath    = "/var/run/secrets/kubernetes.io/serviceaccount"
	rootCAConfigMap   = "kube-root-ca.crt"
	// tokenSeconds asks for an hour and a little, as upstream does so that issued tokens can be told from asked-for ones.
	tokenSeconds = 3607
)

// serviceAccount gives each pod a service account: "default" when it names none, which must exist, with its image pull
// secrets and, unless one of the two opts out, a projected token mounted into every container.
func serviceAccount(s Snapshot) Plugin {
	return complete{api.Pods, func(ctx context.Context, w *resource.Write) error {
		if !w.Creating() || w.New == nil {
			return nil
		}
		pod := w.New.Value.(*corev1.Pod)
		if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
			return nil
		}
		if pod.Spec.ServiceAccountName == "" {
			pod.Spec.ServiceAccountName = "default"
		}
		pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
		v, err := s(ctx)
		if err != nil {
			return err
		}
		ns, name := w.Request.Key.Namespace, pod.Spec.ServiceAccountName
		if err := askable(name); err != nil {
			return forbidden(w, fmt.Errorf("error looking up service account %s/%s: %w", ns, name, err))
		}
		rec := v.Get(api.ServiceAccounts, api.Key{Namespace: ns, Name: name})
		if rec == nil {
			return forbidden(w, fmt.Errorf("error looking up service account %s/%s: serviceaccount %q not found", ns, name, name))
		}
		var sa struct {
			AutomountServiceAccountToken *bool                         `json:"automountServiceAccountToken"`
			ImagePullSecrets             []corev1.LocalObjectReference `json:"imagePullSecrets"`
		}
		if err := json.Unmarshal(rec.JSON(), &sa, jsonv1.DefaultOptionsV1()); err != nil {
			return fmt.Errorf("decoding service account %s/%s: %w", ns, name, err)
		}
		if len(pod.Spec.ImagePullSecrets) == 0 {
			pod.Spec.ImagePullSecrets = sa.ImagePullSecrets
		}
		automount := pod.Spec.AutomountServiceAccountToken
		if automount == nil {
			automount = sa.AutomountServiceAccountToken
		}
		if ptr.Deref(automount, true) {
			mountToken(&pod.Spec)
		}
		return nil
	}}
}

// mountToken adds the projected volume and mounts it wherever nothing is mounted at its path yet.
func mountToken(spec *corev1.PodSpec) {
	name := ""
	for _, v := range spec.Volumes {
		if len(v.Name) > len(tokenVolumePrefix) && v.Name[:len(tokenVolumePrefix)] == tokenVolumePrefix {
			name = v.Name
		}
	}
	isNew := name == ""
	if isNew {
		name = tokenVolumePrefix + utilrand.String(5)
	}
	used := false
	for _, cs := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range cs {
			if slices.ContainsFunc(cs[i].VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == tokenMountPath }) {
				continue
			}
			cs[i].VolumeMounts = append(cs[i].VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: tokenMountPath})
			used = true
		}
	}
	if isNew && used {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: ptr.To(corev1.ProjectedVolumeSourceDefaultMode),
			Sources: []corev1.VolumeProjection{
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](tokenSeconds)}},
				{ConfigMap: &corev1.ConfigMapProjection{
					LocalObjectReference: corev1.LocalObjectReference{Name: rootCAConfigMap},
					Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
				}},
				{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
					{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}},
				}}},
			},
		}}})
	}
}
