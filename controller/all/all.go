// Package all lists the controllers: a new one is a package of its own, a line here, and in package auth the rights of the
// identity it is given here.
package all

import (
	"context"
	"net/netip"
	"time"

	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/backends"
	"pintle.dev/controller/deployment"
	"pintle.dev/controller/endpoints"
	"pintle.dev/controller/endpointslice"
	"pintle.dev/controller/expiry"
	"pintle.dev/controller/gc"
	"pintle.dev/controller/namespace"
	"pintle.dev/controller/nodeipam"
	"pintle.dev/controller/nodelifecycle"
	"pintle.dev/controller/podgc"
	"pintle.dev/controller/replicaset"
	"pintle.dev/controller/rootca"
	"pintle.dev/controller/serviceaccount"
	"pintle.dev/controller/storageversionmigrator"
	"pintle.dev/controller/tainteviction"
)

// Config is what the controllers need of the system they run in.
type Config struct {
	// Client returns the client of the controller with the name, which is that of its service account upstream
	// ("deployment-controller"), so that each may have an identity and rights of its own.
	Client func(name string) client.Client
	// Catalog lists the resources served.
	Catalog controller.Catalog
	// RootCA returns the PEM certificates that verify the API server.
	RootCA func() []byte
	// Taken lists ranges of addresses that no node must be given for its pods; nil for none.
	Taken func() []netip.Prefix
}

// eventGrace is how long the events that are still waiting may take to be written at the end.
const eventGrace = time.Second

// Controllers returns a fresh controller of each kind, to be run as one controller.Set.
func Controllers(cfg Config) []*controller.Controller {
	behindServices := backends.NewPods()
	return []*controller.Controller{
		recording(cfg, "deployment-controller", deployment.New),
		recording(cfg, "replicaset-controller", replicaset.New),
		recording(cfg, "endpoint-controller", func(c client.Client, rec *client.Recorder) *controller.Controller {
			return endpoints.New(c, rec, behindServices)
		}),
		recording(cfg, "endpointslice-controller", func(c client.Client, rec *client.Recorder) *controller.Controller {
			return endpointslice.New(c, rec, behindServices)
		}),
		recording(cfg, "endpointslicemirroring-controller", endpointslice.NewMirroring),
		recording(cfg, "generic-garbage-collector", func(c client.Client, rec *client.Recorder) *controller.Controller {
			return gc.New(c, cfg.Catalog, rec)
		}),
		recording(cfg, "node-controller", nodelifecycle.New),
		recording(cfg, "node-controller", func(c client.Client, rec *client.Recorder) *controller.Controller {
			return nodeipam.New(c, nodeipam.Config{Cluster: netip.MustParsePrefix(nodeipam.ClusterCIDR), Taken: cfg.Taken}, rec)
		}),
		recording(cfg, "taint-eviction-controller", tainteviction.New),
		namespace.New(cfg.Client("namespace-controller"), cfg.Catalog),
		podgc.New(cfg.Client("pod-garbage-collector"), podgc.TerminatedThreshold),
		expiry.New(cfg.Client("event-expiry-controller"), expiry.TTL),
		serviceaccount.New(cfg.Client("service-account-controller")),
		serviceaccount.NewTokens(cfg.Client("tokens-controller")),
		storageversionmigrator.New(cfg.Client("storage-version-migrator-controller"), cfg.Catalog),
		rootca.New(cfg.Client("root-ca-cert-publisher"), cfg.RootCA),
	}
}

// recording makes a controller that writes events, and sees to it that the last are written.
func recording(cfg Config, name string, make func(client.Client, *client.Recorder) *controller.Controller) *controller.Controller {
	c := cfg.Client(name)
	events := client.NewRecorder(c, name, "")
	return make(c, events).Also(func(ctx context.Context) error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), eventGrace)
		defer cancel()
		return events.Close(end)
	})
}
