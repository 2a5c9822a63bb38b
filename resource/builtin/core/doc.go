// Package core defines the kinds of the core API group.
package core
