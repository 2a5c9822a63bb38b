// Package apiextensions defines the kinds of the apiextensions.k8s.io API group: CustomResourceDefinition. It says when a
// definition is valid and which of the names it asks for it gets; what it then defines is package resource's FromCRD.
//
// A definition is established in the very commit that stores it: the names it accepts are claims (api.Claims), so that of
// two definitions that want one name at most one gets it, whoever runs at the same time. Deleting a definition marks it
// (Terminate); the controller of custom resource definitions deletes what it defines and takes its finalizer off, and
// the commit that removes it gives the names back.
package apiextensions
