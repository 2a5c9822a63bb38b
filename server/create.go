package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// create stores a new object.
func (q *request) create(ctx context.Context) (*api.Response, error) {
	if err := q.parseWriteOptions("CreateOptions"); err != nil {
		return nil, err
	}
	return q.attempts(ctx, func(attempt int) (*api.Response, error) {
		o, err := q.newObject()
		if err != nil {
			return nil, err
		}
		return q.createObject(ctx, o)
	})
}

// createObject takes an object that a client sent from its defaults to the store. store.ErrConflict asks for another
// attempt from the start.
func (q *request) createObject(ctx context.Context, o *resource.Object) (*api.Response, error) {
	m := o.Meta
	pinned := m.ResourceVersion
	if err := q.scope(m); err != nil {
		return nil, err
	}
	generated := m.Name == "" && m.GenerateName != ""
	q.setDefaults(o) // before the name is made, as upstream
	q.stampNew(m)
	q.dropDuplicateOwners(m)
	before := q.Key
	q.Key.Name = m.Name
	defer func() { q.Key = before }()

	w := &resource.Write{Definition: q.d, Version: q.v, Request: q.Request, New: o, DryRun: q.options.dryRun, Generated: generated,
		Unpruned: q.decided != nil}
	owned, err := q.own(nil, o)
	if err != nil {
		return nil, err
	}
	defer owned.free()
	owned.settled = !q.completed(w)
	if err := q.admit(ctx, w); err != nil {
		return nil, err
	}
	if q.d.Hooks.Prepare != nil {
		q.d.Hooks.Prepare(ctx, w)
	}
	if err := q.validate(ctx, w); err != nil {
		return nil, err
	}
	if err := q.admitValid(ctx, w); err != nil {
		return nil, err
	}
	claims, err := q.claim(ctx, w)
	if err != nil {
		return nil, err
	}
	q.hookWarnings(ctx, w)
	rec, err := owned.seal(w)
	if err != nil {
		return nil, err
	}
	// It is upstream's storage that refuses this, which reads what is no number as none, and which a dry run does not reach.
	stated, err := strconv.ParseUint(pinned, 10, 64)
	if err != nil {
		stated = 0
	}
	if stated != 0 && q.Verb == api.Create && !q.options.dryRun {
		return nil, api.BadRequest("resourceVersion should not be set on objects to be created")
	}
	if q.options.dryRun {
		v, err := q.s.view(ctx, 0)
		if err != nil {
			return nil, err
		}
		if old := v.Get(q.d.Resource, rec.Key()); old != nil {
			return nil, q.alreadyExists(m.Name, old)
		}
		if stated != 0 {
			rec.Stamp(api.Revision(stated)) // as it was sent, which only storing it would change
		}
		return &api.Response{Code: http.StatusCreated, Record: rec}, nil
	}
	err = q.commit(ctx, rec, 0, append(w.Guards, claims...))
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) && conflict.Resource == q.d.Resource && conflict.Key == rec.Key() && !generated {
		v, err := q.s.view(ctx, 0)
		if err != nil {
			return nil, err
		}
		return nil, q.alreadyExists(m.Name, v.Get(q.d.Resource, rec.Key()))
	}
	if err != nil {
		return nil, err
	}
	return &api.Response{Code: http.StatusCreated, Record: rec}, nil
}

// alreadyExists refuses to create what there is already, or was until now (nil). It says when that is on its way out:
// trying again may help then.
func (q *request) alreadyExists(name string, old *api.Record) error {
	err := api.AlreadyExists(q.resource(), name)
	if old != nil && old.Is(api.Deleting) {
		err.Status.Message = "object is being deleted: " + err.Status.Message
	}
	return err
}

// stampNew fills in what a new object gets from the server and forgets what only the server may say.
func (q *request) stampNew(m *metav1.ObjectMeta) {
	m.SelfLink, m.DeletionTimestamp, m.DeletionGracePeriodSeconds = "", nil, nil
	m.CreationTimestamp = now()
	m.UID = types.UID(uuid.NewString())
	if m.Name == "" && m.GenerateName != "" {
		m.Name = generateName(m.GenerateName)
	}
}

// generateName appends five random characters to a prefix, cut so that the name has at most 63: upstream's generator,
// whose alphabet has no vowels and nothing that looks like one.
func generateName(prefix string) string {
	const alphabet, random, most = "bcdfghjklmnpqrstvwxz2456789", 5, 63
	if len(prefix) > most-random {
		prefix = prefix[:most-random]
	}
	b := append(make([]byte, 0, most), prefix...)
	for range random {
		b = append(b, alphabet[rand.IntN(len(alphabet))])
	}
	return string(b)
}
