package storageversionmigrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

// The objects are config maps, which the API in memory can hold, as if a definition had made them.
const crdName = "configmaps"

func definitionOf(generation int64) *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: crdName, Generation: generation},
	}
	crd.Spec.Versions = []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v0"}, {Name: "v1", Storage: true}}
	crd.Status.StoredVersions = []string{"v0", "v1"}
	return crd
}

func migrationOf(name string, day int, conditions ...metav1.Condition) *migration {
	m := &migration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "storagemigration.k8s.io/v1", Kind: "StorageVersionMigration"},
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC))},
	}
	m.Spec.Resource.Resource = "configmaps"
	m.Status.Conditions = conditions
	return m
}

func conditionOf(c storagemigrationv1.MigrationConditionType, s metav1.ConditionStatus) metav1.Condition {
	return metav1.Condition{Type: string(c), Status: s}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
}

func catalog() ([]controller.Kind, <-chan struct{}) {
	return []controller.Kind{{Resource: api.ConfigMaps, Version: "v1", Kind: "ConfigMap", Namespaced: true}}, nil
}

// interrupted is an API in which something happens before the first write.
type interrupted struct {
	*controllertest.API
	once  sync.Once
	first func(*controllertest.API)
}

func (i *interrupted) Commit(ctx context.Context, c client.Change) (*api.Record, error) {
	i.once.Do(func() { i.first(i.API) })
	return i.API.Commit(ctx, c)
}

func reconcile(t *testing.T, a client.Client) (controller.Result, error) {
	t.Helper()
	return (&migrator{a, catalog}).Reconcile(context.Background(), controller.Request{Key: api.Key{Name: crdName}})
}

func TestTurns(t *testing.T) {
	running := conditionOf(storagemigrationv1.MigrationRunning, metav1.ConditionTrue)
	done := conditionOf(storagemigrationv1.MigrationSucceeded, metav1.ConditionTrue)
	other := migrationOf("other", 1)
	other.Spec.Resource.Resource = "secrets"
	for _, tt := range []struct {
		name string
		all  []*migration
		want string // whose turn it is
	}{
		{"the oldest", []*migration{migrationOf("a", 3), migrationOf("b", 1), migrationOf("c", 2)}, "b"},
		{"of one age the first by name", []*migration{migrationOf("b", 1), migrationOf("a", 1)}, "a"},
		{"the one that runs", []*migration{migrationOf("a", 1), migrationOf("b", 2, running)}, "b"},
		{"not one that has ended", []*migration{migrationOf("a", 1, done), migrationOf("b", 2)}, "b"},
		{"another resource's is no reason to wait", []*migration{other, migrationOf("b", 2)}, "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := controllertest.New()
			for _, m := range tt.all {
				a.Create(m)
			}
			v, err := a.View(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if m, err := next(v, crdName); err != nil || m.Name != tt.want {
				t.Errorf("%v %v, want %s", m, err, tt.want)
			}
			if _, err := reconcile(t, a); err != nil {
				t.Fatal(err)
			}
			m, err := a.Get(t.Context(), api.StorageVersionMigrations, api.Key{Name: tt.want})
			if err != nil || !strings.Contains(string(m.JSON()), `"Running"`) {
				t.Errorf("%s does not begin: %s %v", tt.want, m.JSON(), err)
			}
		})
	}
}

// TestEnds: how a migration ends, and what the definition says then.
func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		name      string
		refuse    error // of the write of an object
		redefined bool  // the definition changes while it runs
		err       bool  // it is to be tried again
		want      string
		condition string
		stored    []string
	}{
		{"well", nil, false, false, "Succeeded", "MigrationSucceeded: The migration has succeeded and the stored versions have been updated", []string{"v1"}},
		{"the definition changed", nil, true, false, "Succeeded",
			"MigrationSucceeded: The migration has succeeded but the stored versions have not been updated due to a generation mismatch", []string{"v0", "v1"}},
		{"an object cannot be written", api.BadRequest("no"), false, false, "Failed: migration encountered unhandled error: migrating configmaps default/b: no",
			"MigrationFailed: The migration has failed", []string{"v0", "v1"}},
		{"an object has changed", api.Conflict(api.ConfigMaps, "b", errors.New("changed")), false, false, "Succeeded",
			"MigrationSucceeded: The migration has succeeded and the stored versions have been updated", []string{"v1"}},
		{"an object is gone", api.NotFound(api.ConfigMaps, "b"), false, false, "Succeeded",
			"MigrationSucceeded: The migration has succeeded and the stored versions have been updated", []string{"v1"}},
		{"the server is busy", api.NewError(429, metav1.StatusReasonTooManyRequests, "wait"), false, true,
			"Running: The migration is running; a write failed and is tried again: migrating configmaps default/b: wait",
			"MigrationRunning: Migration m is running", []string{"v0", "v1"}},
		{"the webhook is down", api.NewError(500, "", "no webhook"), false, true,
			"Running: The migration is running; a write failed and is tried again: migrating configmaps default/b: no webhook",
			"MigrationRunning: Migration m is running", []string{"v0", "v1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := controllertest.New(definitionOf(3), configMap("a"), configMap("b"), migrationOf("m", 1))
			if _, err := reconcile(t, a); err != nil {
				t.Fatal(err)
			}
			if got := readDefinition(t, a); got.condition != "MigrationRunning: Migration m is running (3)" {
				t.Errorf("the definition says %s", got.condition)
			}
			generation := 3
			if tt.redefined {
				patchSpec(t, a)
				generation++
			}
			a.Before(func(c client.Change) error {
				if c.Key.Name == "b" {
					return tt.refuse
				}
				return nil
			})
			if _, err := reconcile(t, a); (err != nil) != tt.err {
				t.Fatalf("error %v", err)
			}
			v, err := a.View(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			m, err := client.StorageVersionMigrations.In(v, api.Key{Name: "m"})
			if err != nil {
				t.Fatal(err)
			}
			if got := state(m); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if tt.err {
				generation = 3
				if _, err := reconcile(t, a); err == nil {
					t.Error("no error the second time")
				}
				again, err := a.Get(t.Context(), api.StorageVersionMigrations, api.Key{Name: "m"})
				if err != nil || again.Revision() != v.Get(api.StorageVersionMigrations, api.Key{Name: "m"}).Revision() {
					t.Errorf("the second failure is written, too: %s %v", again.JSON(), err)
				}
			}
			if got := readDefinition(t, a); got.condition != fmt.Sprintf("%s (%d)", tt.condition, generation) || !slices.Equal(got.stored, tt.stored) {
				t.Errorf("the definition says %s, stored %v, want %s, %v", got.condition, got.stored, tt.condition, tt.stored)
			}
		})
	}
}

// TestDeleted: a definition does not go on saying that it is migrated when the migration is deleted, and no more is written.
func TestDeleted(t *testing.T) {
	remove := func(a *controllertest.API) {
		if _, err := a.Commit(t.Context(), client.Change{Verb: api.Delete, Resource: api.StorageVersionMigrations, Key: api.Key{Name: "m"}}); err != nil {
			t.Error(err)
		}
	}
	for _, tt := range []struct {
		name    string
		during  bool // the first objects are written
		waiting bool // another migration of the resource waits
		want    string
	}{
		{"before objects are written", false, false, "MigrationFailed: The migration was deleted before it ended (3)"},
		{"while objects are written", true, false, "MigrationFailed: The migration was deleted before it ended (3)"},
		{"another goes on", true, true, "MigrationRunning: Migration n is running (3)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := controllertest.New(definitionOf(3), migrationOf("m", 1))
			for i := range 2 * batch {
				a.Create(configMap(fmt.Sprint("c", i)))
			}
			if tt.waiting {
				a.Create(migrationOf("n", 2))
			}
			if _, err := reconcile(t, a); err != nil {
				t.Fatal(err)
			}
			if tt.during {
				if _, err := reconcile(t, &interrupted{API: a, first: remove}); err != nil {
					t.Fatal(err)
				}
				written := 0
				for _, c := range a.Commits() {
					if c.Resource == api.ConfigMaps {
						written++
					}
				}
				if written != batch {
					t.Errorf("%d objects written, want no more than a batch", written)
				}
			} else {
				remove(a)
			}
			if _, err := reconcile(t, a); err != nil {
				t.Fatal(err)
			}
			if got := readDefinition(t, a); got.condition != tt.want || !slices.Equal(got.stored, []string{"v0", "v1"}) {
				t.Errorf("the definition says %s, stored %v", got.condition, got.stored)
			}
		})
	}
}

// TestTriggers: what happens to a migration brings its resource to be looked at, but for what is over already.
func TestTriggers(t *testing.T) {
	a := controllertest.New()
	waiting := a.Create(migrationOf("m", 1))
	ended := a.Create(migrationOf("e", 1, conditionOf(storagemigrationv1.MigrationSucceeded, metav1.ConditionTrue)))
	for _, tt := range []struct {
		name string
		e    api.Event
		want int
	}{
		{"new", api.Event{New: waiting}, 1},
		{"ends", api.Event{Old: waiting, New: ended}, 1},
		{"deleted", api.Event{Old: waiting}, 1},
		{"over", api.Event{New: ended}, 0},
		{"over and deleted", api.Event{Old: ended}, 0},
	} {
		if got := migrated(tt.e); len(got) != tt.want || tt.want > 0 && got[0].Name != crdName {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// state is the condition that is true, with its message.
func state(m *migration) string {
	for _, c := range m.Status.Conditions {
		if c.Status == metav1.ConditionTrue {
			if c.Message == "" {
				return c.Type
			}
			return c.Type + ": " + c.Message
		}
	}
	return ""
}

type said struct {
	condition string
	stored    []string
}

func readDefinition(t *testing.T, a *controllertest.API) said {
	t.Helper()
	rec, err := a.Get(t.Context(), api.CustomResourceDefinitions, api.Key{Name: crdName})
	if err != nil {
		t.Fatal(err)
	}
	crd, err := client.Decode[apiextensionsv1.CustomResourceDefinition](rec)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensionsv1.StorageMigrating {
			if want := apiextensionsv1.ConditionFalse; (c.Status == want) == strings.HasSuffix(c.Reason, "Running") {
				t.Errorf("%s is %s", c.Reason, c.Status)
			}
			return said{fmt.Sprintf("%s: %s (%d)", c.Reason, c.Message, c.ObservedGeneration), crd.Status.StoredVersions}
		}
	}
	return said{"nothing", crd.Status.StoredVersions}
}

// patchSpec changes the definition, and with that its generation.
func patchSpec(t *testing.T, a *controllertest.API) {
	t.Helper()
	_, err := a.Commit(t.Context(), client.Change{
		Verb: api.Patch, Resource: api.CustomResourceDefinitions, Key: api.Key{Name: crdName},
		Patch: []byte(`{"spec":{"scope":"Cluster"}}`), PatchType: "application/merge-patch+json",
	})
	if err != nil {
		t.Fatal(err)
	}
}
