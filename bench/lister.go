package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"k8s.io/client-go/rest"
)

// listing is what a lister is asked, in JSON on its standard input.
type listing struct {
	Host  string
	TLS   rest.TLSClientConfig
	Path  string
	Bytes int64 // to read before it ends
}

// List reads a listing from in and lists, again and again, until it has read as many bytes as that asks for.
func List(ctx context.Context, in io.Reader) error {
	var l listing
	if err := json.NewDecoder(in).Decode(&l); err != nil {
		return fmt.Errorf("what to list: %w", err)
	}
	e, err := newEndpoint(&rest.Config{Host: l.Host, TLSClientConfig: l.TLS}, nil)
	if err != nil {
		return err
	}
	for read := int64(0); read < l.Bytes; {
		n, err := e.do(ctx, call{method: "GET", path: l.Path})
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("GET " + l.Path + ": an empty answer")
		}
		read += int64(n)
	}
	return nil
}

// lister is a client that lists, in a process of its own.
type lister struct {
	ended chan error
	stop  func()
}

func startLister(ctx context.Context, command []string, e *endpoint, path string, bytes int64) (*lister, error) {
	ask, err := json.Marshal(listing{Host: e.base, TLS: e.config.TLSClientConfig, Path: path, Bytes: bytes})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], "lister")...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(ask)), os.Stderr
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting the lister: %w", err)
	}
	l := &lister{ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		l.ended <- cmd.Wait()
		close(done)
	}()
	l.stop = func() {
		cancel()
		<-done
	}
	return l, nil
}
