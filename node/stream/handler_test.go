package stream

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"pintle.dev/api"
	"pintle.dev/node"
)

// What a container that does not run answers reads as upstream's, over either way of streaming.
func TestContainerThatDoesNotRun(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}}
	srv := httptest.NewServer(New(Config{Find: func(context.Context, api.Key) (*corev1.Pod, *node.PodState, error) {
		return pod, &node.PodState{}, nil
	}}))
	defer srv.Close()
	cfg := &rest.Config{Host: srv.URL}
	for _, path := range []string{"/exec/default/web/web?command=ls&stdout=true", "/attach/default/web/web?stdout=true"} {
		u, err := url.Parse(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		ws, err := remotecommand.NewWebSocketExecutor(cfg, http.MethodGet, u.String())
		if err != nil {
			t.Fatal(err)
		}
		spdy, err := remotecommand.NewSPDYExecutor(cfg, http.MethodPost, u)
		if err != nil {
			t.Fatal(err)
		}
		for want, ex := range map[string]remotecommand.Executor{
			`Internal error occurred: unable to upgrade connection: container not found ("web")`: ws,
			`unable to upgrade connection: container not found ("web")`:                          spdy,
		} {
			err := ex.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
			if err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", path, err, want)
			}
		}
	}
}
