package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"pintle.dev/api"
)

// dialTimeout is for one address of a service.
const dialTimeout = 10 * time.Second

// dialer connects to a ready address of a service, whatever address is asked for: the host need not be part of the
// cluster's network of services.
func (c *Caller) dialer(s Service) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		addrs, err := c.addresses(ctx, s)
		if err != nil {
			return nil, err
		}
		var errs []error
		for _, i := range rand.Perm(len(addrs)) {
			d := net.Dialer{Timeout: dialTimeout}
			conn, err := d.DialContext(ctx, network, addrs[i])
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
		}
		return nil, errors.Join(errs...)
	}
}

// addresses are the ready endpoints of a service's port, or the name that a service without a selector stands for.
func (c *Caller) addresses(ctx context.Context, s Service) ([]string, error) {
	if c.Snapshot == nil {
		return nil, fmt.Errorf("service %q not found", s.Name)
	}
	v, err := c.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for service %s/%s: %w", s.Namespace, s.Name, err)
	}
	key := api.Key{Namespace: s.Namespace, Name: s.Name}
	rec := v.Get(api.Services, key)
	if rec == nil {
		return nil, fmt.Errorf("service %q not found", s.Name)
	}
	var service corev1.Service
	if err := json.Unmarshal(rec.JSON(), &service); err != nil {
		return nil, fmt.Errorf("reading service %s: %w", key, err)
	}
	port := portOf(&service, s.Port)
	if port == nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", s.Port, s.Name))
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return []string{net.JoinHostPort(service.Spec.ExternalName, strconv.Itoa(int(s.Port)))}, nil
	}
	var endpoints corev1.Endpoints
	if rec := v.Get(api.Endpoints, key); rec != nil {
		if err := json.Unmarshal(rec.JSON(), &endpoints); err != nil {
			return nil, fmt.Errorf("reading endpoints %s: %w", key, err)
		}
	}
	var addrs []string
	for _, subset := range endpoints.Subsets {
		for _, p := range subset.Ports {
			if p.Name != port.Name {
				continue
			}
			for _, a := range subset.Addresses {
				addrs = append(addrs, net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
			}
		}
	}
	if len(addrs) == 0 {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", s.Name))
	}
	return addrs, nil
}

func portOf(service *corev1.Service, number int32) *corev1.ServicePort {
	for i := range service.Spec.Ports {
		if p := &service.Spec.Ports[i]; p.Port == number {
			return p
		}
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return &corev1.ServicePort{Port: number}
	}
	return nil
}
