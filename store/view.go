// Package store keeps records; see its full comment once the tables are in.
package store

import (
	"iter"

	"pintle.dev/api"
)

// View is one revision across all tables.
type View struct{}

func (v View) Revision() api.Revision                                     { return 0 }
func (v View) Get(r api.Resource, k api.Key) *api.Record                  { return nil }
func (v View) All(r api.Resource, namespace string) iter.Seq[*api.Record] { return nil }
func (v View) ByIndex(r api.Resource, x api.Index) iter.Seq[*api.Record]  { return nil }
