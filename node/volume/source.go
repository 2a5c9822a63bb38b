package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/node"
)

// write makes a projected volume show what the API holds now.
func (m *Manager) write(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) error {
	s := sources{m: m, ctx: ctx, pod: pod, files: map[string]file{}}
	var err error
	switch {
	case v.ConfigMap != nil:
		c := v.ConfigMap
		err = s.configMap(c.Name, c.Items, mode(c.DefaultMode), set(c.Optional))
	case v.Secret != nil:
		c := v.Secret
		err = s.secret(c.SecretName, c.Items, mode(c.DefaultMode), set(c.Optional))
	case v.DownwardAPI != nil:
		err = s.downward(v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode))
	case v.Projected != nil:
		err = s.projected(v.Projected)
	}
	if err != nil {
		return err
	}
	return project(m.volume(pod, v.Name), s.files, m.fsGroup(pod))
}

func set(b *bool) bool { return b != nil && *b }

func mode(m *int32) os.FileMode {
	if m == nil {
		return 0o644
	}
	return os.FileMode(*m) & 0o777
}

// sources gathers the files of one volume. What comes later wins.
type sources struct {
	m     *Manager
	ctx   context.Context
	pod   *corev1.Pod
	files map[string]file
}

func (s *sources) configMap(name string, items []corev1.KeyToPath, mode os.FileMode, optional bool) error {
	cm, err := client.ConfigMaps.Get(s.ctx, s.m.cfg.Client, api.Key{Namespace: s.pod.Namespace, Name: name})
	if api.IsNotFound(err) && optional {
		return nil
	}
	if err != nil {
		return said("configmap", name, err)
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	maps.Copy(data, cm.BinaryData)
	return s.take("configmap references non-existent config key: ", data, items, mode, optional)
}

func (s *sources) secret(name string, items []corev1.KeyToPath, mode os.FileMode, optional bool) error {
	sec, err := client.Secrets.Get(s.ctx, s.m.cfg.Client, api.Key{Namespace: s.pod.Namespace, Name: name})
	if api.IsNotFound(err) && optional {
		return nil
	}
	if err != nil {
		return said("secret", name, err)
	}
	return s.take("references non-existent secret key: ", sec.Data, items, mode, optional)
}

// said is an error about an object a pod refers to, in the kubelet's words.
func said(kind, name string, err error) error {
	if api.IsNotFound(err) {
		return fmt.Errorf("%s %q not found", kind, name)
	}
	return errors.New(api.AsError(err).Status.Message)
}

// take adds all of data, or just the items.
func (s *sources) take(missing string, data map[string][]byte, items []corev1.KeyToPath, def os.FileMode, optional bool) error {
	if len(items) == 0 {
		for k, v := range data {
			s.files[k] = file{data: v, mode: def}
		}
		return nil
	}
	for _, it := range items {
		v, ok := data[it.Key]
		if !ok {
			if optional {
				continue
			}
			return errors.New(missing + it.Key)
		}
		f := file{data: v, mode: def}
		if it.Mode != nil {
			f.mode = mode(it.Mode)
		}
		s.files[path.Clean(it.Path)] = f
	}
	return nil
}

func (s *sources) downward(items []corev1.DownwardAPIVolumeFile, def os.FileMode) error {
	for i := range items {
		it := &items[i]
		var v string
		var err error
		switch {
		case it.FieldRef != nil:
			v, err = node.FieldValue(s.pod, it.FieldRef.FieldPath)
		case it.ResourceFieldRef != nil:
			v, err = s.resource(it.ResourceFieldRef)
		}
		if err != nil {
			return err
		}
		f := file{data: []byte(v), mode: def}
		if it.Mode != nil {
			f.mode = mode(it.Mode)
		}
		s.files[path.Clean(it.Path)] = f
	}
	return nil
}

func (s *sources) resource(r *corev1.ResourceFieldSelector) (string, error) {
	for _, cs := range [][]corev1.Container{s.pod.Spec.Containers, s.pod.Spec.InitContainers} {
		for i := range cs {
			if cs[i].Name == r.ContainerName {
				var alloc corev1.ResourceList
				if s.m.cfg.Allocatable != nil {
					alloc = s.m.cfg.Allocatable()
				}
				return node.ResourceValue(&cs[i], r, alloc)
			}
		}
	}
	return "", fmt.Errorf("container %s not found", r.ContainerName)
}

func (s *sources) projected(p *corev1.ProjectedVolumeSource) error {
	def := mode(p.DefaultMode)
	var errs []error
	for i := range p.Sources {
		var err error
		switch src := &p.Sources[i]; {
		case src.ConfigMap != nil:
			err = s.configMap(src.ConfigMap.Name, src.ConfigMap.Items, def, set(src.ConfigMap.Optional))
		case src.Secret != nil:
			err = s.secret(src.Secret.Name, src.Secret.Items, def, set(src.Secret.Optional))
		case src.DownwardAPI != nil:
			err = s.downward(src.DownwardAPI.Items, def)
		case src.ServiceAccountToken != nil:
			err = s.token(src.ServiceAccountToken, def)
		default:
			err = errors.New("a projected source of this kind is not supported")
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	text := ""
	for i, err := range errs {
		if i > 0 {
			text += ", "
		}
		text += err.Error()
	}
	return errors.New("[" + text + "]")
}
