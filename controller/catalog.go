package controller

import "pintle.dev/api"

// Kind is one resource the API serves.
type Kind struct {
	Resource   api.Resource
	Version    string // preferred
	Kind       string
	Namespaced bool
	Groups     []string // other API groups it is served under, whose names references to it may have
}

// Catalog returns the resources served now, those of CustomResourceDefinitions included, and a channel that is closed
// when they have changed.
type Catalog func() (kinds []Kind, changed <-chan struct{})
