// Package podtemplate holds the rules of a pod's spec, shared by Pod and by every kind that carries a pod template:
// defaults, validation, warnings, and the quality-of-service class.
//
// It defines no kind and knows nothing of updates; package core says which fields of a running Pod may change.
// Each file holds one concept of the spec. Paths in errors and warnings are those of the API version v1, their
// wording and order are upstream's.
//
// Data flows: Default fills in a decoded object, DropUnserved removes what this server has no use for, Validate
// (ValidateTemplate for a template) judges the result, Warn comments on what is accepted.
package podtemplate
