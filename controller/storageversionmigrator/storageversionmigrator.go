// Package storageversionmigrator carries out StorageVersionMigrations: it writes every object of a resource once more,
// unchanged, so that the server stores it in the version that is stored now, and then tells the CustomResourceDefinition
// that no other version is stored any more, so that the others can be given up.
//
// A migration notes a revision at which the new version is stored already. What was written later, by others or by
// itself, is stored as it should be (resource.Definition.Stands) and need not be written again, so that a migration goes
// on where it was after a restart. An object that is stored as it should be is left alone: such a write changes nothing.
//
// What is reconciled is a resource, by the name that its CustomResourceDefinition has or would have: of the migrations
// of one resource only one runs at a time, the oldest first, and the end of one, or its deletion, is looked at again.
package storageversionmigrator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
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
	// batch is how many objects are written before a migration is looked at again: it may have been deleted.
	batch = 512
)

// Reasons and messages of conditions are upstream's.
const (
	reasonRunning   = "MigrationRunning"
	reasonCompleted = "MigrationCompleted"
	reasonSucceeded = "StorageVersionMigrationSucceeded"
	reasonFailed    = "StorageVersionMigrationFailed"

	messageRunning = "The migration is running"
)

type migration = storagemigrationv1.StorageVersionMigration

type migrator struct {
	client  client.Client
	catalog controller.Catalog
}

// New returns the controller. It learns from catalog what there is to migrate, and in which version it is stored.
func New(c client.Client, catalog controller.Catalog) *controller.Controller {
	return controller.New("storage-version-migrator-controller", &migrator{controller.Fresh(c), catalog}).
		Watches(api.StorageVersionMigrations, migrated).
		Watches(api.CustomResourceDefinitions, self, hasMigrated).Workers(workers)
}

// migrated is the resource of a migration that has not ended, or just did.
func migrated(e api.Event) []controller.Request {
	for _, rec := range []*api.Record{e.New, e.Old} {
		if rec == nil {
			continue
		}
		if r := rec.IndexValue(api.IndexMigrates); r != "" {
			return []controller.Request{{Key: api.Key{Name: r}}}
		}
	}
	return nil
}

func self(e api.Event) []controller.Request { return []controller.Request{{Key: e.Record().Key()}} }

// hasMigrated passes definitions that say something of a migration, which may be gone.
func hasMigrated(e api.Event) bool {
	return e.New != nil && bytes.Contains(e.New.JSON(), []byte(`"`+apiextensionsv1.StorageMigrating+`"`))
}

// Reconcile implements controller.Reconciler.
func (r *migrator) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	m, err := next(v, req.Name)
	if err != nil {
		return controller.Result{}, err
	}
	if m == nil {
		return controller.Result{}, r.abandonDefinition(ctx, req.Name)
	}
	k, ok := r.kind(m)
	if !ok {
		return controller.Result{}, r.end(ctx, m, "resource does not exist in discovery")
	}
	if !is(m, storagemigrationv1.MigrationRunning) || m.Status.ResourceVersion == "" {
		// The change brings the controller here again.
		return controller.Result{}, r.begin(ctx, m)
	}
	failure, err := r.migrate(ctx, m, k)
	if errors.Is(err, errDeleted) {
		return controller.Result{}, nil // which brings the controller here again
	}
	if err != nil {
		return controller.Result{}, errors.Join(err, r.wait(ctx, m, err))
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

// next is the migration of a resource whose turn it is: the one that runs, else the oldest; nil when none is left.
func next(v client.View, resource string) (*migration, error) {
	var first *migration
	for rec := range v.ByIndex(api.StorageVersionMigrations, api.Index{Name: api.IndexMigrates, Value: resource}) {
		m, err := client.StorageVersionMigrations.Decode(rec)
		if err != nil {
			return nil, err
		}
		if first == nil || before(m, first) {
			first = m
		}
	}
	return first, nil
}

func before(m, o *migration) bool {
	if runs := is(m, storagemigrationv1.MigrationRunning); runs != is(o, storagemigrationv1.MigrationRunning) {
		return runs
	}
	return cmp.Or(m.CreationTimestamp.Compare(o.CreationTimestamp.Time), cmp.Compare(m.Name, o.Name)) < 0
}

func resourceOf(m *migration) api.Resource {
	return api.Resource{Group: m.Spec.Resource.Group, Name: m.Spec.Resource.Resource}
}

// kind is what m is about, as it is served now. Some kinds are known in several groups.
func (r *migrator) kind(m *migration) (controller.Kind, bool) {
	kinds, _ := r.catalog()
	for _, k := range kinds {
		if res := resourceOf(m); k.Resource == res || k.Resource.Name == res.Name && slices.Contains(k.Groups, res.Group) {
			return k, true
		}
	}
	return controller.Kind{}, false
}

// begin says that the migration runs, of all objects up to a revision: one at which the version that the definition says
// is stored has been the stored one.
func (r *migrator) begin(ctx context.Context, m *migration) error {
	if err := r.beginDefinition(ctx, m); err != nil {
		return err
	}
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return err
	}
	m.Status.ResourceVersion = cmp.Or(m.Status.ResourceVersion, v.Revision().String())
	setCondition(m, storagemigrationv1.MigrationRunning, metav1.ConditionTrue, reasonRunning, messageRunning)
	return r.updateStatus(ctx, m)
}

// wait says why a migration that runs does not come to its end, which upstream tells nobody: a conversion webhook that
// fails, above all. Only the first failure is written, as each change brings the controller here again at once.
func (r *migrator) wait(ctx context.Context, m *migration, failure error) error {
	c := meta.FindStatusCondition(m.Status.Conditions, string(storagemigrationv1.MigrationRunning))
	if errors.Is(failure, context.Canceled) || c.Message != messageRunning {
		return nil
	}
	setCondition(m, storagemigrationv1.MigrationRunning, metav1.ConditionTrue, reasonRunning,
		fmt.Sprintf("%s; a write failed and is tried again: %s", messageRunning, failure))
	return r.updateStatus(ctx, m)
}

// end says how the migration ended: as a failure with a message, or well.
func (r *migrator) end(ctx context.Context, m *migration, failure string) error {
	setCondition(m, storagemigrationv1.MigrationRunning, metav1.ConditionFalse, reasonCompleted, "Migration completed")
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

// errDeleted ends the work for a migration that is gone.
var errDeleted = errors.New("the migration was deleted")

// migrate writes the objects of m's resource that are as old as m. failure is why an object cannot be written at all;
// err is errDeleted, or worth another attempt.
func (r *migrator) migrate(ctx context.Context, m *migration, k controller.Kind) (failure, err error) {
	checkpoint, err := strconv.ParseUint(m.Status.ResourceVersion, 10, 64)
	if err != nil {
		return err, nil
	}
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return nil, err
	}
	var todo []*api.Record
	for rec := range v.All(k.Resource, "") {
		if rec.Revision() <= api.Revision(checkpoint) {
			todo = append(todo, rec)
		}
	}
	for recs := range slices.Chunk(todo, batch) {
		now, err := r.client.View(ctx, 0)
		if err != nil {
			return nil, err
		}
		if rec := now.Get(api.StorageVersionMigrations, api.Key{Name: m.Name}); rec == nil || rec.UID() != string(m.UID) {
			return nil, errDeleted
		}
		if failure, err := r.rewriteAll(ctx, k.Resource, recs); failure != nil || err != nil {
			return failure, err
		}
	}
	return nil, nil
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
