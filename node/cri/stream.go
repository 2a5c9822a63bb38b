package cri

import (
	"context"
	"fmt"
	"net/url"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"pintle.dev/node/stream"
)

// Sessions prepares streams in the runtime; it implements stream.Sessions.
type Sessions struct{ r *Runtime }

// Sessions returns the runtime's streams.
func (r *Runtime) Sessions() Sessions { return Sessions{r} }

// Exec implements stream.Sessions.
func (s Sessions) Exec(ctx context.Context, id string, command []string, st stream.Streams) (*url.URL, error) {
	a, err := s.r.rt.Exec(ctx, &runtimeapi.ExecRequest{ContainerId: bare(id), Cmd: command, Tty: st.TTY,
		Stdin: st.Stdin, Stdout: st.Stdout, Stderr: st.Stderr})
	if err != nil {
		return nil, err
	}
	return parse(a.Url)
}

// Attach implements stream.Sessions.
func (s Sessions) Attach(ctx context.Context, id string, st stream.Streams) (*url.URL, error) {
	a, err := s.r.rt.Attach(ctx, &runtimeapi.AttachRequest{ContainerId: bare(id), Tty: st.TTY,
		Stdin: st.Stdin, Stdout: st.Stdout, Stderr: st.Stderr})
	if err != nil {
		return nil, err
	}
	return parse(a.Url)
}

// PortForward implements stream.Sessions.
func (s Sessions) PortForward(ctx context.Context, id string) (*url.URL, error) {
	a, err := s.r.rt.PortForward(ctx, &runtimeapi.PortForwardRequest{PodSandboxId: bare(id)})
	if err != nil {
		return nil, err
	}
	return parse(a.Url)
}

func parse(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("the runtime's streaming address: %w", err)
	}
	return u, nil
}
