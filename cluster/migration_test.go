package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"pintle.dev/api"
)

const (
	migrations = "/apis/storagemigration.k8s.io/v1/storageversionmigrations"
	gadgetCRD  = definitions + "/gadgets.example.com"
)

func migrationOf(name, group, resource string) string {
	return fmt.Sprintf(`{"apiVersion":"storagemigration.k8s.io/v1","kind":"StorageVersionMigration","metadata":{"name":%q},
		"spec":{"resource":{"group":%q,"resource":%q}}}`, name, group, resource)
}

// migrated waits for the end of a migration and returns it.
func migrated(t *testing.T, sys *System, name string) *storagemigrationv1.StorageVersionMigration {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		m := new(storagemigrationv1.StorageVersionMigration)
		if err := json.Unmarshal([]byte(want(t, sys, "GET", migrations+"/"+name, "", 200)), m); err != nil {
			t.Fatal(err)
		}
		for _, c := range []storagemigrationv1.MigrationConditionType{storagemigrationv1.MigrationSucceeded, storagemigrationv1.MigrationFailed} {
			if meta.IsStatusConditionTrue(m.Status.Conditions, string(c)) {
				return m
			}
		}
		if time.Now().After(end) {
			t.Fatalf("migration %s does not end: %+v", name, m.Status)
		}
	}
}

// summary is what conditions say.
func summary(m *storagemigrationv1.StorageVersionMigration) string {
	var l []string
	for _, c := range m.Status.Conditions {
		l = append(l, fmt.Sprintf("%s=%s %s (%s)", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(l, "; ")
}

const wellDone = "Running=False MigrationCompleted (Migration completed); Succeeded=True StorageVersionMigrationSucceeded ()"

// storedAs counts the records of gadgets by the version they are stored in.
func storedAs(t *testing.T, sys *System) map[string]int {
	t.Helper()
	v, err := sys.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for rec := range v.All(api.Resource{Group: "example.com", Name: "gadgets"}, "") {
		var o struct{ APIVersion string }
		if err := json.Unmarshal(rec.JSON(), &o); err != nil {
			t.Fatal(err)
		}
		n[o.APIVersion]++
	}
	return n
}

// storing is a merge patch of the gadgets' definition by which another version is stored.
func storing(t *testing.T, sys *System, version string) string {
	t.Helper()
	crd := new(apiextensionsv1.CustomResourceDefinition)
	if err := json.Unmarshal([]byte(want(t, sys, "GET", gadgetCRD, "", 200)), crd); err != nil {
		t.Fatal(err)
	}
	for i := range crd.Spec.Versions {
		v := &crd.Spec.Versions[i]
		v.Storage = v.Name == version
	}
	b, err := json.Marshal(map[string]any{"spec": map[string]any{"versions": crd.Spec.Versions}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func createGadgets(t *testing.T, sys *System, n int) {
	t.Helper()
	client := sys.adminClient()
	var writers sync.WaitGroup
	for w := range 10 {
		writers.Go(func() {
			for i := w; i < n; i += 10 {
				p, err := client.Post(sys.URL()+gadgetsV2, "application/json", strings.NewReader(gadget("v2", fmt.Sprintf("g%d", i), "hue", "red")))
				if err != nil {
					t.Error(err)
					return
				}
				p.Body.Close()
				if p.StatusCode != http.StatusCreated {
					t.Errorf("creating gadget %d: %s", i, p.Status)
				}
			}
		})
	}
	writers.Wait()
}

// TestMigration: when another version is stored from now on, a migration stores all objects in it, changes nothing else of
// them, and lets the old version be given up.
func TestMigration(t *testing.T) {
	for _, conversion := range []string{"None", "Webhook"} {
		t.Run(conversion, func(t *testing.T) {
			t.Parallel()
			c := newConverter(t)
			crd := gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL, c.bundle()), `["v1"]`)
			if conversion == "None" {
				// Fields that only one version has would be dropped.
				start, end := strings.Index(crd, `"conversion":`), strings.Index(crd, `"versions":`)
				crd = strings.ReplaceAll(crd[:start]+crd[end:], `color`, `hue`)
			}
			sys := startTest(t, Config{})
			want(t, sys, "POST", definitions, crd, 201)
			const n = 1000
			createGadgets(t, sys, n)
			want(t, sys, "PATCH", gadgetsV2+"/g7", `{"spec":{"hue":"blue"}}`, 200, `"generation":2`)
			want(t, sys, "PATCH", gadgetCRD, storing(t, sys, "v1"), 200, `"storedVersions":["v2","v1"]`)
			want(t, sys, "POST", gadgetsV2, gadget("v2", "late", "hue", "red"), 201)
			before := want(t, sys, "GET", gadgetsV2+"/late", "", 200)
			if got := storedAs(t, sys); got["example.com/v2"] != n || got["example.com/v1"] != 1 {
				t.Fatalf("stored before the migration: %v", got)
			}

			want(t, sys, "POST", migrations, migrationOf("m", "example.com", "gadgets"), 201)
			m := migrated(t, sys, "m")
			if got := summary(m); got != wellDone || m.Status.ResourceVersion == "" {
				t.Errorf("%s, resourceVersion %q", got, m.Status.ResourceVersion)
			}
			if got := storedAs(t, sys); got["example.com/v1"] != n+1 || len(got) != 1 {
				t.Errorf("stored after the migration: %v", got)
			}
			want(t, sys, "GET", gadgetCRD, "", 200, `"storedVersions":["v1"]`, `"type":"StorageMigrating"`, `"reason":"MigrationSucceeded"`,
				"The migration has succeeded and the stored versions have been updated", `"manager":"migration-runner-controller"`)
			want(t, sys, "GET", gadgetsV2+"/g7", "", 200, `"hue":"blue"`, `"generation":2`, "!storage-version-migrator")
			if after := want(t, sys, "GET", gadgetsV2+"/late", "", 200); after != before {
				t.Errorf("what was stored in the version already is\n%s\nafter the migration, and was\n%s", after, before)
			}

			// Once more: nothing is to be done.
			was := want(t, sys, "GET", gadgetsV2+"/g7", "", 200)
			want(t, sys, "POST", migrations, migrationOf("again", "example.com", "gadgets"), 201)
			if got := summary(migrated(t, sys, "again")); got != wellDone {
				t.Error(got)
			}
			if now := want(t, sys, "GET", gadgetsV2+"/g7", "", 200); now != was {
				t.Errorf("a second migration changed\n%s\nto\n%s", was, now)
			}

			// The webhook is needed no longer, nor is the version.
			c.Close()
			want(t, sys, "PATCH", gadgetCRD, `{"spec":{"conversion":null,"versions":[{"name":"v1","served":true,"storage":true,
				"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`, 200)
			want(t, sys, "GET", gadgetsV1+"/g7", "", 200, `blue`)
			want(t, sys, "GET", gadgetsV2+"/g7", "", 404)
		})
	}
}

// TestMigrationResumes: a migration goes on where it was when the server is started anew, and waits for a webhook.
func TestMigrationResumes(t *testing.T) {
	c := newConverter(t)
	config := Config{Data: t.TempDir(), NoNode: true}
	sys, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { sys.Close() }()
	want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL, c.bundle()), `["v1"]`), 201)
	const n = 200
	createGadgets(t, sys, n)
	want(t, sys, "PATCH", gadgetCRD, storing(t, sys, "v1"), 200)
	// The webhook fails after some objects, once they are stored: a write that fails ends those that are under way beside it.
	var asked atomic.Int64
	stored := make(chan struct{})
	c.lie(func(review map[string]any) any {
		if asked.Add(1) > n/4 {
			<-stored
			review["response"] = nil
		}
		return review
	})
	want(t, sys, "POST", migrations, migrationOf("m", "example.com", "gadgets"), 201)
	for end := time.Now().Add(patience); storedAs(t, sys)["example.com/v1"] < n/4; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			close(stored)
			t.Fatalf("stored: %v", storedAs(t, sys))
		}
	}
	close(stored)
	want(t, sys, "GET", gadgetCRD, "", 200, `"storedVersions":["v2","v1"]`, "Migration m is running", `"observedGeneration":2`)
	running := want(t, sys, "GET", migrations+"/m", "", 200, "The migration is running", "!Failed")
	done := storedAs(t, sys)["example.com/v1"]
	if err := sys.Close(); err != nil {
		t.Fatal(err)
	}

	c.lie(nil)
	before := c.objects.Load()
	if sys, err = Start(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	m := migrated(t, sys, "m")
	if got := summary(m); got != wellDone || !strings.Contains(running, `"resourceVersion":"`+m.Status.ResourceVersion+`"`) {
		t.Errorf("%s, resourceVersion %s, before %s", got, m.Status.ResourceVersion, running)
	}
	if got := storedAs(t, sys); got["example.com/v1"] != n {
		t.Errorf("stored: %v", got)
	}
	if asked := c.objects.Load() - before; asked > int64(n-done) {
		t.Errorf("%d objects converted after the restart, of %d that were left", asked, n-done)
	}
	want(t, sys, "GET", gadgetCRD, "", 200, `"storedVersions":["v1"]`)
}

// TestMigrationEnds: what a migration says when there is nothing to migrate, or the definition changes meanwhile.
func TestMigrationEnds(t *testing.T) {
	sys := startTest(t, Config{})
	want(t, sys, "POST", migrations, migrationOf("none", "example.com", "gadgets"), 201)
	if got := summary(migrated(t, sys, "none")); got != "Running=False MigrationCompleted (Migration completed); Failed=True StorageVersionMigrationFailed (resource does not exist in discovery)" {
		t.Error(got)
	}
	want(t, sys, "POST", migrations, migrationOf("secrets", "", "secrets"), 201)
	want(t, sys, "POST", migrations, migrationOf("second", "", "secrets"), 201)
	for _, name := range []string{"secrets", "second"} {
		if got := summary(migrated(t, sys, name)); got != wellDone {
			t.Error(got)
		}
	}
	// Built-in kinds, which have objects.
	want(t, sys, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"c"}}`, 201)
	want(t, sys, "POST", "/apis/events.k8s.io/v1/namespaces/default/events", `{"metadata":{"name":"e"},"eventTime":"2026-01-01T00:00:00.000000Z","action":"a","reason":"r","type":"Normal",
		"reportingController":"x/y","reportingInstance":"z","regarding":{"namespace":"default"}}`, 201)
	for _, m := range [][2]string{{"", "configmaps"}, {"", "events"}, {"events.k8s.io", "events"}, {"", "namespaces"}, {"scheduling.k8s.io", "priorityclasses"}} {
		name := strings.Trim(m[1]+"."+m[0], ".")
		want(t, sys, "POST", migrations, migrationOf(name, m[0], m[1]), 201)
		if got := summary(migrated(t, sys, name)); got != wellDone {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, tt := range []struct{ body, want string }{
		{migrationOf("x", "a_b", "secrets"), `spec.resource.group: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain must`},
		{migrationOf("x", "", "Secrets"), `spec.resource.resource: Invalid value: \"Secrets\": a DNS-1035 label must`},
		{migrationOf("x", "", ""), `spec.resource.resource: Required value: resource is required to be set`},
	} {
		want(t, sys, "POST", migrations, tt.body, 422, tt.want)
	}
	want(t, sys, "PATCH", migrations+"/secrets", `{"spec":{"resource":{"resource":"configmaps"}}}`, 422, "field is immutable")
	want(t, sys, "PATCH", migrations+"/secrets/status", `{"status":{"resourceVersion":"1"}}`, 422, "status.resourceVersion: Invalid value: ", "field is immutable")
	want(t, sys, "PATCH", migrations+"/secrets/status", `{"status":{"conditions":null}}`, 422, "Success condition cannot be set to false once it is true")
	want(t, sys, "PATCH", migrations+"/none/status", `{"status":{"resourceVersion":"-1"}}`, 422, "resource version is not well formed: -1")
	want(t, sys, "GET", strings.Replace(migrations, "v1", "v1beta1", 1)+"/secrets", "", 200, `"apiVersion":"storagemigration.k8s.io/v1beta1"`)
}
