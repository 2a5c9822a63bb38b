// Package storageversionmigrator carries out StorageVersionMigrations: it writes every object of a resource once more,
// unchanged, so that the server stores it in the version that is stored now, and then tells the CustomResourceDefinition
// that no other version is stored any more, so that the others can be given up.
//
// An object that is stored as it should be is left alone: such a write changes nothing. A migration notes the revision
// it began at. What was written later, by others or by itself, need not be written again, so that it goes on where it
// was after a restart. Of the migrations of one resource only one runs at a time, the oldest first.
package storageversionmigrator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	workers = 5
	// inFlight is how many objects of a migration are written at a time: what waits together is stored together.
	inFlight = 16
	// again is when a migration looks anew whether it is its turn.
	again = time.Second
)

// Reasons and messages of conditions are upstream's.
const (
	reasonRunning   = "MigrationRunning"
	reasonCompleted = "MigrationCompleted"
	reasonSucceeded = "StorageVersionMigrationSucceeded"
	reasonFailed    = "StorageVersionMigrationFailed"
)

type migration = storagemigrationv1.StorageVersionMigration

type migrator struct {
	client  client.Client
	catalog controller.Catalog
}

// New returns the controller. It learns from catalog what there is to migrate, and in which version it is stored.
func New(c client.Client, catalog controller.Catalog) *controller.Controller {
	return controller.New("storage-version-migrator-controller", &migrator{controller.Fresh(c), catalog}).
		For(api.StorageVersionMigrations).Workers(workers)
}

// Reconcile implements controller.Reconciler.
func (r *migrator) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	m, err := client.StorageVersionMigrations.In(v, req.Key)
	if err != nil || m == nil || ended(m) {
		return controller.Result{}, err
	}
	if turn, err := isTurnOf(v, m); err != nil || !turn {
		return controller.Result{RequeueAfter: again}, err
	}
	if _, ok := r.kind(m); !ok {
		return controller.Result{}, r.end(ctx, m, "resource does not exist in discovery")
	}
	if !is(m, storagemigrationv1.MigrationRunning) || m.Status.ResourceVersion == "" {
		// The change brings the controller here again.
		return controller.Result{}, r.begin(ctx, m, v.Revision())
	}
	failure, err := r.migrate(ctx, m)
	if err != nil {
		return controller.Result{}, err
	}
	if err := r.finishDefinition(ctx, m, failure == nil); err != nil {
		return controller.Result{}, err
	}
	if failure != nil {
		return controller.Result{}, r.end(ctx, m, fmt.Sprintf("migration encountered unhandled error: %s", failure))
	}
	return controller.Result{}, r.end(ctx, m, "")
}

func is(m *migration, c storagemigrationv1.MigrationConditionType) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, string(c))
}

func ended(m *migration) bool {
	return is(m, storagemigrationv1.MigrationSucceeded) || is(m, storagemigrationv1.MigrationFailed)
}

// isTurnOf reports whether no other migration of the resource comes before m: one that runs, else the oldest.
func isTurnOf(v client.View, m *migration) (bool, error) {
	for rec := range v.All(api.StorageVersionMigrations, "") {
		o, err := client.StorageVersionMigrations.Decode(rec)
		if err != nil {
			return false, err
		}
		if o.Name == m.Name || o.Spec.Resource != m.Spec.Resource || ended(o) {
			continue
		}
		runs, other := is(m, storagemigrationv1.MigrationRunning), is(o, storagemigrationv1.MigrationRunning)
		older := cmp.Or(o.CreationTimestamp.Compare(m.CreationTimestamp.Time), cmp.Compare(o.Name, m.Name)) < 0
		if other && !runs || other == runs && older {
			return false, nil
		}
	}
	return true, nil
}

// kind is what m is about, as it is served now.
func (r *migrator) kind(m *migration) (controller.Kind, bool) {
	kinds, _ := r.catalog()
	for _, k := range kinds {
		if k.Resource == (api.Resource{Group: m.Spec.Resource.Group, Name: m.Spec.Resource.Resource}) {
			return k, true
		}
	}
	return controller.Kind{}, false
}

// begin says that the migration runs, of all objects up to a revision.
func (r *migrator) begin(ctx context.Context, m *migration, at api.Revision) error {
	if err := r.beginDefinition(ctx, m); err != nil {
		return err
	}
	m.Status.ResourceVersion = cmp.Or(m.Status.ResourceVersion, at.String())
	setCondition(m, storagemigrationv1.MigrationRunning, metav1.ConditionTrue, reasonRunning, "The migration is running")
	return r.updateStatus(ctx, m)
}

// end says how the migration ended: as a failure with a message, or well.
func (r *migrator) end(ctx context.Context, m *migration, failure string) error {
	if is(m, storagemigrationv1.MigrationRunning) {
		setCondition(m, storagemigrationv1.MigrationRunning, metav1.ConditionFalse, reasonCompleted, "Migration completed")
	}
	if failure != "" {
		setCondition(m, storagemigrationv1.MigrationFailed, metav1.ConditionTrue, reasonFailed, failure)
	} else {
		setCondition(m, storagemigrationv1.MigrationSucceeded, metav1.ConditionTrue, reasonSucceeded, "")
	}
	return r.updateStatus(ctx, m)
}

// maxMessage is the longest message that a condition may have, in bytes.
const maxMessage = 32 << 10

func setCondition(m *migration, c storagemigrationv1.MigrationConditionType, s metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{
		Type: string(c), Status: s, Reason: reason, Message: strings.ToValidUTF8(message[:min(len(message), maxMessage)], ""),
	})
}

// updateStatus writes m's status over the version that was looked at: a newer one brings the controller here again.
func (r *migrator) updateStatus(ctx context.Context, m *migration) error {
	_, err := client.StorageVersionMigrations.UpdateStatus(ctx, r.client, m)
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
		return fmt.Errorf("updating the status of storage version migration %s: %w", m.Name, err)
	}
	return nil
}

// migrate writes the objects of m's resource that need it until none is left that is stored in another version. failure
// is why an object cannot be written at all; err is worth another attempt.
func (r *migrator) migrate(ctx context.Context, m *migration) (failure, err error) {
	checkpoint, err := strconv.ParseUint(m.Status.ResourceVersion, 10, 64)
	if err != nil {
		return err, nil
	}
	seen := api.Revision(0) // by the last round: what has not changed since is as the server stores it
	for first := true; ; first = false {
		k, ok := r.kind(m)
		if !ok {
			return errors.New("unable to obtain GVR from discovery"), nil
		}
		v, err := r.client.View(ctx, 0)
		if err != nil {
			return nil, err
		}
		var todo []*api.Record
		for rec := range v.All(k.Resource, "") {
			if first && rec.Revision() <= api.Revision(checkpoint) || rec.Revision() > seen && !storedIn(rec, k) {
				todo = append(todo, rec)
			}
		}
		seen = v.Revision()
		if len(todo) == 0 {
			return nil, nil
		}
		if failure, err := r.rewriteAll(ctx, k.Resource, todo); failure != nil || err != nil {
			return failure, err
		}
	}
}

// storedIn reports whether an object's bytes are of the version that its kind is stored in.
func storedIn(rec *api.Record, k controller.Kind) bool {
	at := k.Version
	if k.Resource.Group != "" {
		at = k.Resource.Group + "/" + at
	}
	doc, version := rec.JSON(), `"apiVersion":"`+at+`"`
	// Custom resources begin with one, built-in ones with the other.
	return bytes.HasPrefix(doc, []byte(`{`+version)) || bytes.HasPrefix(doc, []byte(`{"kind":"`+k.Kind+`",`+version))
}

// rewriteAll writes objects as they are, several at a time, up to the first that fails.
func (r *migrator) rewriteAll(ctx context.Context, res api.Resource, recs []*api.Record) (failure, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var writers sync.WaitGroup
	next := make(chan *api.Record)
	for range inFlight {
		writers.Go(func() {
			for rec := range next {
				if err := r.rewrite(ctx, res, rec); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, rec := range recs {
		if ctx.Err() != nil {
			break
		}
		next <- rec
	}
	close(next)
	writers.Wait()
	err = context.Cause(ctx)
	if err == nil || errors.Is(err, context.Canceled) || transient(err) {
		return nil, err
	}
	return err, nil
}

// rewrite writes an object as it is. One that has changed meanwhile was stored as it should be by that, and one that is
// gone needs nothing.
func (r *migrator) rewrite(ctx context.Context, res api.Resource, rec *api.Record) error {
	p, err := client.MergePatch(map[string]any{"metadata": map[string]any{"uid": rec.UID(), "resourceVersion": rec.Revision().String()}})
	if err != nil {
		return err
	}
	_, err = r.client.Commit(ctx, client.Change{Verb: api.Patch, Resource: res, Key: rec.Key(), Patch: p.Body, PatchType: p.Type})
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
		return fmt.Errorf("migrating %s %s: %w", res, rec.Key(), err)
	}
	return nil
}

// transient reports whether a write may succeed another time, as upstream has it: a conversion webhook that is down makes a
// migration wait, not fail.
func transient(err error) bool {
	code := api.AsError(err).Status.Code
	return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
}
