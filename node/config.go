package node

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// ConfigError marks an error of a Launch's own configuration: the container waits with CreateContainerConfigError.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// configure fills in a container's environment and mounts.
func (e *entry) configure(ctx context.Context, l *Launch) error {
	env := environment{agent: e.agent, pod: placed(l.Pod, &e.state), spec: l.Spec}
	var err error
	if l.Env, err = env.build(ctx); err != nil {
		return err
	}
	l.Mounts, l.Groups, err = e.agent.cfg.Files.Mounts(ctx, l)
	return err
}

// placed is the pod with the addresses it has by now, which its status may not show yet.
func placed(pod *corev1.Pod, have *PodState) *corev1.Pod {
	p := *pod
	addresses(pod, have, &p.Status)
	return &p
}

// environment builds a container's environment. A variable named again replaces the former; $(NAME) refers to what
// came before.
type environment struct {
	agent   *Agent
	pod     *corev1.Pod
	spec    *corev1.Container
	names   []string
	values  map[string]string
	configs map[string]*corev1.ConfigMap
	secrets map[string]*corev1.Secret
}

func (b *environment) build(ctx context.Context) ([]Variable, error) {
	b.values = map[string]string{}
	services, err := b.agent.serviceVariables(ctx, b.pod)
	if err != nil {
		return nil, fmt.Errorf("services have not yet been read at least once, cannot construct envvars: %w", err)
	}
	for i := range b.spec.EnvFrom {
		if err := b.from(ctx, &b.spec.EnvFrom[i]); err != nil {
			return nil, err
		}
	}
	lookup := func(name string) (string, bool) {
		if v, ok := b.values[name]; ok {
			return v, true
		}
		v, ok := services[name]
		return v, ok
	}
	for i := range b.spec.Env {
		v := &b.spec.Env[i]
		switch {
		case v.ValueFrom != nil:
			value, ok, err := b.value(ctx, v.ValueFrom)
			if err != nil {
				return nil, err
			}
			if ok {
				b.set(v.Name, value)
			}
		default:
			b.set(v.Name, expand(v.Value, lookup))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if _, own := b.values[name]; !own {
			b.set(name, services[name])
		}
	}
	env := make([]Variable, len(b.names))
	for i, name := range b.names {
		env[i] = Variable{name, b.values[name]}
	}
	return env, nil
}

func (b *environment) set(name, value string) {
	if _, again := b.values[name]; !again {
		b.names = append(b.names, name)
	}
	b.values[name] = value
}

// from takes all entries of a ConfigMap or Secret.
func (b *environment) from(ctx context.Context, f *corev1.EnvFromSource) error {
	data := map[string]string{}
	switch {
	case f.ConfigMapRef != nil:
		cm, err := b.config(ctx, f.ConfigMapRef.Name)
		if api.IsNotFound(err) && set(f.ConfigMapRef.Optional) {
			return nil
		}
		if err != nil {
			return said("configmap", f.ConfigMapRef.Name, err)
		}
		data = cm.Data
	case f.SecretRef != nil:
		s, err := b.secret(ctx, f.SecretRef.Name)
		if api.IsNotFound(err) && set(f.SecretRef.Optional) {
			return nil
		}
		if err != nil {
			return said("secret", f.SecretRef.Name, err)
		}
		for k, v := range s.Data {
			data[k] = string(v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(data)) {
		b.set(f.Prefix+k, data[k])
	}
	return nil
}

func set(b *bool) bool { return b != nil && *b }

// said is an error about an object a pod refers to, in the kubelet's words.
func said(kind, name string, err error) error {
	if api.IsNotFound(err) {
		return fmt.Errorf("%s %q not found", kind, name)
	}
	return errors.New(api.AsError(err).Status.Message)
}

// value resolves one source; ok is false for an optional one that is absent.
func (b *environment) value(ctx context.Context, f *corev1.EnvVarSource) (value string, ok bool, err error) {
	switch {
	case f.FieldRef != nil:
		value, err = FieldValue(b.pod, f.FieldRef.FieldPath)
		return value, err == nil, err
	case f.ResourceFieldRef != nil:
		c := b.spec
		if n := f.ResourceFieldRef.ContainerName; n != "" {
			if c = containerSpec(b.pod, n); c == nil {
				return "", false, fmt.Errorf("container %s not found", n)
			}
		}
		value, err = ResourceValue(c, f.ResourceFieldRef, b.agent.Allocatable())
		return value, err == nil, err
	case f.ConfigMapKeyRef != nil:
		r := f.ConfigMapKeyRef
		cm, err := b.config(ctx, r.Name)
		if api.IsNotFound(err) && set(r.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, said("configmap", r.Name, err)
		}
		v, ok := cm.Data[r.Key]
		if !ok && !set(r.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", r.Key, b.pod.Namespace, r.Name)
		}
		return v, ok, nil
	case f.SecretKeyRef != nil:
		r := f.SecretKeyRef
		s, err := b.secret(ctx, r.Name)
		if api.IsNotFound(err) && set(r.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, said("secret", r.Name, err)
		}
		v, ok := s.Data[r.Key]
		if !ok && !set(r.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", r.Key, b.pod.Namespace, r.Name)
		}
		return string(v), ok, nil
	}
	return "", false, fmt.Errorf("a variable's source is of no known kind")
}

func (b *environment) config(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	if cm := b.configs[name]; cm != nil {
		return cm, nil
	}
	cm, err := client.ConfigMaps.Get(ctx, b.agent.cfg.Client, api.Key{Namespace: b.pod.Namespace, Name: name})
	if err != nil {
		return nil, err
	}
	if b.configs == nil {
		b.configs = map[string]*corev1.ConfigMap{}
	}
	b.configs[name] = cm
	return cm, nil
}

func (b *environment) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	if s := b.secrets[name]; s != nil {
		return s, nil
	}
	s, err := client.Secrets.Get(ctx, b.agent.cfg.Client, api.Key{Namespace: b.pod.Namespace, Name: name})
	if err != nil {
		return nil, err
	}
	if b.secrets == nil {
		b.secrets = map[string]*corev1.Secret{}
	}
	b.secrets[name] = s
	return s, nil
}

// serviceVariables are the variables about services: those of the API server always, those of the pod's namespace
// where enableServiceLinks has them.
func (a *Agent) serviceVariables(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	vars := map[string]string{}
	s, err := client.Services.Get(ctx, a.cfg.Client, api.Key{Namespace: corev1.NamespaceDefault, Name: "kubernetes"})
	switch {
	case err == nil:
		serviceLinks(vars, s)
	case !api.IsNotFound(err):
		return nil, err
	}
	if l := pod.Spec.EnableServiceLinks; l != nil && !*l {
		return vars, nil
	}
	ss, err := client.Services.List(ctx, a.cfg.Client, client.Options{Namespace: pod.Namespace})
	if err != nil {
		return nil, err
	}
	for _, s := range ss {
		serviceLinks(vars, s)
	}
	return vars, nil
}

// serviceLinks adds one service's variables, in the forms of Kubernetes and of Docker's links.
func serviceLinks(vars map[string]string, s *corev1.Service) {
	ip := s.Spec.ClusterIP
	if ip == "" || ip == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
		return
	}
	host := ip
	if strings.Contains(ip, ":") {
		host = "[" + ip + "]"
	}
	upper := func(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
	name := upper(s.Name)
	vars[name+"_SERVICE_HOST"] = ip
	vars[name+"_SERVICE_PORT"] = strconv.Itoa(int(s.Spec.Ports[0].Port))
	for i, p := range s.Spec.Ports {
		port := strconv.Itoa(int(p.Port))
		if p.Name != "" {
			vars[name+"_SERVICE_PORT_"+upper(p.Name)] = port
		}
		proto := string(p.Protocol)
		if proto == "" {
			proto = string(corev1.ProtocolTCP)
		}
		url := strings.ToLower(proto) + "://" + host + ":" + port
		if i == 0 {
			vars[name+"_PORT"] = url
		}
		prefix := name + "_PORT_" + port + "_" + strings.ToUpper(proto)
		vars[prefix] = url
		vars[prefix+"_PROTO"] = strings.ToLower(proto)
		vars[prefix+"_PORT"] = port
		vars[prefix+"_ADDR"] = ip
	}
}

// Allocatable is what the node has to give to pods.
func (a *Agent) Allocatable() corev1.ResourceList {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node == nil {
		return nil
	}
	return a.node.Status.Allocatable
}

// credentials are the logins for an image's registry from the pod's pull secrets.
func (a *Agent) credentials(ctx context.Context, pod *corev1.Pod, image string) ([]Credential, error) {
	var cs []Credential
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil, err
	}
	var lost []string
	for _, ref := range pod.Spec.ImagePullSecrets {
		s, err := client.Secrets.Get(ctx, a.cfg.Client, api.Key{Namespace: pod.Namespace, Name: ref.Name})
		if api.IsNotFound(err) {
			lost = append(lost, ref.Name)
			continue
		}
		if err != nil {
			return cs, err
		}
		cs = append(cs, logins(s, named)...)
	}
	if len(lost) > 0 {
		a.tell(pod, "", corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets ("+
			strings.Join(lost, ", ")+"); attempting to pull the image may not succeed.")
	}
	return cs, nil
}

// login is an entry of a .dockerconfigjson or .dockercfg.
type login struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
}

// logins are the entries of a pull secret that fit an image: those of its registry, or of a path above it.
func logins(s *corev1.Secret, image reference.Named) []Credential {
	entries := map[string]login{}
	switch s.Type {
	case corev1.SecretTypeDockerConfigJson:
		var f struct {
			Auths map[string]login `json:"auths"`
		}
		if json.Unmarshal(s.Data[corev1.DockerConfigJsonKey], &f) == nil { // the API has validated it
			entries = f.Auths
		}
	case corev1.SecretTypeDockercfg:
		_ = json.Unmarshal(s.Data[corev1.DockerConfigKey], &entries) // the API has validated it
	}
	var cs []Credential
	full := reference.Domain(image) + "/" + reference.Path(image)
	for _, server := range slices.Backward(slices.Sorted(maps.Keys(entries))) {
		at := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(server, "https://"), "http://"), "/")
		at = strings.TrimSuffix(strings.TrimSuffix(at, "/v1"), "/v2")
		if at == "index.docker.io" {
			at = "docker.io"
		}
		if full != at && !strings.HasPrefix(full, at+"/") {
			continue
		}
		l := entries[server]
		c := Credential{Username: l.Username, Password: l.Password, IdentityToken: l.IdentityToken}
		if c.Username == "" && l.Auth != "" {
			if b, err := base64.StdEncoding.DecodeString(l.Auth); err == nil {
				c.Username, c.Password, _ = strings.Cut(string(b), ":")
			}
		}
		cs = append(cs, c)
	}
	return cs
}
