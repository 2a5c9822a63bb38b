// Package apps defines the kinds of the apps API group.
package apps
