package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pintle.dev/auth"
	"pintle.dev/client"
	"pintle.dev/node/containerd"
	"pintle.dev/node/hollow"
	"pintle.dev/node/machine"
)

// nodeRetry is the pause before this machine's node is tried again.
const nodeRetry = 5 * time.Second

// startNodes starts the hollow nodes and this machine's own. The latter comes up beside the rest: containerd takes
// longer to start than everything else together.
func (s *System) startNodes(ctx, run context.Context) error {
	if s.config.HollowNodes > 0 {
		if err := s.startHollow(ctx, run, hollow.Config{Nodes: s.config.HollowNodes}); err != nil {
			return err
		}
	}
	if s.config.NoNode {
		return nil
	}
	name := s.config.NodeName
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("finding the host's name: %w", err)
		}
		name = strings.ToLower(host)
	}
	s.work(run, "node", func(run context.Context) error { return s.runMachine(run, name) })
	return nil
}

// nodeDirectory is where this machine's node keeps its files; a temporary one for a system that has no directory.
func nodeDirectory(c Config) (string, error) {
	if c.Data != "" {
		return filepath.Join(c.Data, "node"), nil
	}
	dir, err := os.MkdirTemp("", "pintle-node-")
	if err != nil {
		return "", fmt.Errorf("making a directory for the node: %w", err)
	}
	return dir, nil
}

// foreignRanges are ranges of addresses that no node may be given, because this machine uses them for something else:
// another cluster on it, above all.
func (s *System) foreignRanges() []netip.Prefix {
	ranges, err := machine.Foreign(s.nodeDir)
	if err != nil {
		s.log.Warn("the machine's addresses cannot be read; nodes may be given ranges that it uses", "err", err)
	}
	return ranges
}

// startHollow starts hollow nodes and waits until they have registered.
func (s *System) startHollow(ctx, run context.Context, c hollow.Config) error {
	c.Client = s.Client("kubelet", auth.UserHollowNodes) // one stream for the pods of all nodes
	c.ClientOf = s.nodeClient
	fleet, err := hollow.New(c)
	if err != nil {
		return err
	}
	for _, name := range fleet.Names() {
		s.streams.Store(name, hollow.Handler())
	}
	s.work(run, "hollow nodes", fleet.Run)
	select {
	case <-fleet.Ready():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *System) nodeClient(name string) client.Client {
	return s.Client("kubelet", auth.NodeUser(name), auth.GroupNodes)
}

// runMachine runs this machine's node until the system ends. Without a containerd the node is a hollow one.
func (s *System) runMachine(run context.Context, name string) error {
	c := s.nodeClient(name)
	for {
		began := time.Now()
		m, err := machine.New(run, machine.Config{Name: name, Client: c, Dir: s.nodeDir, Socket: s.config.Containerd,
			PodRange: func(ctx context.Context) (string, error) { return podRange(ctx, c, name) }})
		switch {
		case run.Err() != nil:
			return nil
		case errors.Is(err, containerd.ErrAbsent):
			s.log.Warn("this machine's node is hollow: it accepts pods and reports them running, and runs none", "node", name, "why", err)
			if err := s.startHollow(run, run, hollow.Config{Names: []string{name}}); err != nil {
				return err
			}
			<-run.Done()
			return nil
		case err != nil:
			s.log.Error("this machine's node does not start; it is tried again", "node", name, "err", err)
			select {
			case <-run.Done():
				return nil
			case <-time.After(nodeRetry):
			}
			continue
		}
		s.streams.Store(name, m.Handler())
		s.config.Progress("node "+name, time.Since(began))
		if err := m.Run(run); err != nil && run.Err() == nil {
			return err
		}
		return s.endMachine(m)
	}
}

// endMachine lets go of this machine's containers; those of a cluster that leaves nothing behind are ended.
func (s *System) endMachine(m *machine.Machine) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if s.config.Data != "" && !s.config.Ephemeral {
		return m.Close(ctx)
	}
	return m.Destroy(ctx)
}
