// Package scheduling defines the kinds of the scheduling.k8s.io API group.
package scheduling
