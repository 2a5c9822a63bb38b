package server

import "pintle.dev/api"

func (q *request) customMismatch(t typeMeta) error {
	return api.BadRequest("the API version in the data (%s) does not match the expected API version (%s)", t.APIVersion, q.v.APIVersion())
}
