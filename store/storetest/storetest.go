// Package storetest is the kit that every store.Backend passes, and what tests of the store need beside it.
package storetest
