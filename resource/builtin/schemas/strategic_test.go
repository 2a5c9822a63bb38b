package schemas

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kjson "sigs.k8s.io/json"

	"pintle.dev/object"
)

// generator makes random documents of Go types, and strategic merge patches of them. Within a round a type has the same
// few fields set everywhere, so that patches meet what they patch.
type generator struct {
	*rand.Rand
	fields map[reflect.Type][]reflect.StructField
	patch  bool
	wrong  bool // patches may be such that upstream refuses them
}

// mergeKeys are what items of the types are merged by.
var mergeKeys = []string{"name", "type", "ip", "key", "port", "containerPort", "mountPath", "devicePath", "topologyKey", "uid"}

func (g *generator) one(in int) bool { return g.IntN(in) == 0 }

func (g *generator) directive() string {
	if g.wrong && g.one(4) {
		return g.pick("merge", "x")
	}
	return g.pick("replace", "delete")
}

func (g *generator) pick(of ...string) string { return of[g.IntN(len(of))] }

// chosen are the fields of a struct that this round is about, those with patch strategies first of all.
func (g *generator) chosen(t reflect.Type) []reflect.StructField {
	if known, ok := g.fields[t]; ok {
		return known
	}
	var plain, merged []reflect.StructField
	for i := range t.NumField() {
		switch f := t.Field(i); {
		case jsonName(f) == "" || jsonName(f) == "-" || f.Name == "ManagedFields":
		case f.Tag.Get("patchStrategy") != "":
			merged = append(merged, f)
		default:
			plain = append(plain, f)
		}
	}
	var all []reflect.StructField
	for _, some := range [][]reflect.StructField{plain, merged} {
		g.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		all = append(all, some[:min(len(some), 2)]...)
	}
	for _, name := range append([]string{"metadata", "spec", "template", "jobTemplate"}, mergeKeys...) {
		for _, f := range plain {
			if jsonName(f) == name && !slices.ContainsFunc(all, func(a reflect.StructField) bool { return a.Name == f.Name }) {
				all = append(all, f)
			}
		}
	}
	g.fields[t] = all
	return all
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func (g *generator) value(t reflect.Type, depth int) any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Name() {
	case "Quantity", "IntOrString":
		return g.pick("1", "2")
	case "Time", "MicroTime":
		return "2020-01-01T00:00:00Z"
	}
	switch t.Kind() {
	case reflect.String:
		return g.pick("a", "b", "c")
	case reflect.Bool:
		return g.one(2)
	case reflect.Struct:
		return g.structOf(t, depth-1)
	case reflect.Map:
		m := map[string]any{}
		for range g.IntN(3) {
			m[g.pick("a", "b", "c")] = g.value(t.Elem(), depth-1)
		}
		if g.patch && g.one(10) {
			m["$patch"] = g.directive()
		}
		if g.patch && g.one(10) {
			m[g.pick("a", "b", "c")] = nil
		}
		return m
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "YQ=="
		}
		return g.list(t, depth, g.patch)
	}
	return g.IntN(3)
}

// list makes a list of items that differ, as far as possible, and now and then, in a patch, one that does not belong.
func (g *generator) list(t reflect.Type, depth int, misfits bool) []any {
	l := []any{}
	if depth <= 2 {
		return l
	}
	for range g.IntN(4) {
		l = append(l, g.value(t.Elem(), depth-1))
	}
	if misfits && g.wrong && g.one(40) {
		l = append(l, []any{g.IntN(2), []any{}, map[string]any{}, "s", nil}[g.IntN(5)])
	}
	return l
}

func (g *generator) structOf(t reflect.Type, depth int) map[string]any {
	m := map[string]any{}
	if depth <= 0 {
		return m
	}
	var names []any
	for _, f := range g.chosen(t) {
		name := jsonName(f)
		names = append(names, name)
		if !slices.Contains(mergeKeys, name) && f.Tag.Get("patchMergeKey") == "" && g.one(4) {
			continue
		}
		m[name] = g.value(f.Type, depth)
		if g.patch {
			g.direct(m, &f, depth)
		}
	}
	if !g.patch {
		return m
	}
	switch g.IntN(30) {
	case 0:
		m["$patch"] = g.directive()
	case 1, 2:
		m["$retainKeys"] = names
	case 3:
		if g.wrong {
			m["$retainKeys"] = []any{g.pick("name", "spec"), 1}[:1+g.IntN(2)]
		}
	case 4:
		if g.wrong {
			m[g.pick("$retainKeys", "$setElementOrder/x", "$setElementOrder", "$deleteFromPrimitiveList", "$deleteFromPrimitiveList/x")] =
				[]any{"a", 1, []any{}, []any{"a"}, nil, map[string]any{}}[g.IntN(6)]
		}
	}
	return m
}

// direct adds directives about a member.
func (g *generator) direct(m map[string]any, f *reflect.StructField, depth int) {
	name := jsonName(*f)
	if g.one(12) && (g.wrong || !slices.Contains(mergeKeys, name)) {
		m[name] = nil
	}
	if f.Type.Kind() != reflect.Slice {
		// Structs that are no pointers are always there in what is stored, and pointers are merely passed over.
		if k := f.Type.Kind(); k != reflect.Pointer && k != reflect.Struct && g.wrong && g.one(40) {
			m["$setElementOrder/"+name] = []any{"a"}
			if g.one(2) {
				delete(m, name)
			}
		}
		return
	}
	switch g.IntN(6) {
	case 0, 1:
		if !g.wrong && f.Tag.Get("patchStrategy") == "" {
			break
		}
		order := g.list(f.Type, depth, true)
		if given, ok := m[name].([]any); ok && !(g.wrong && g.one(6)) {
			order = append(slices.Clone(given), order...) // mostly a legal one
		}
		m["$setElementOrder/"+name] = order
	case 2:
		if g.wrong || f.Type.Elem().Kind() == reflect.String {
			m["$deleteFromPrimitiveList/"+name] = g.list(f.Type, depth, true)
		}
	}
	if g.one(3) {
		delete(m, name)
	}
}

// upstreamStrategic is upstream's answer: the patched document, or what the error says.
func upstreamStrategic(t *testing.T, target, patch []byte, typ any) (answer string) {
	defer func() {
		if p := recover(); p != nil {
			answer = fmt.Sprint("panic: ", p)
		}
	}()
	var docs [2]map[string]any
	for i, data := range [][]byte{target, patch} {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &docs[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range docs {
		clip(docs[i])
	}
	out, err := strategicpatch.StrategicMergeMapPatch(docs[0], docs[1], typ)
	if err != nil {
		return "error: " + err.Error()
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// clip takes spare capacity away from lists, which decides what upstream overwrites when it appends to a list with
// repeated items.
func clip(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, m := range v {
			v[name] = clip(m)
		}
	case []any:
		for i := range v {
			v[i] = clip(v[i])
		}
		return slices.Clip(v)
	}
	return v
}

func ourStrategic(t *testing.T, target, patch []byte, typ any) string {
	v, err := object.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p, err := object.Parse(patch)
	if err != nil {
		t.Fatal(err)
	}
	if err := object.StrategicMerge(v, p, Shape(Name(reflect.TypeOf(typ).Elem()))); err != nil {
		return "error: " + err.Error()
	}
	b, err := json.Marshal(v.ToAny())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestStrategicMergeLikeUpstream patches random documents of several types with all directives, right and wrong, and
// compares results and errors with upstream's. Upstream goes through a patch in the random order of a map, which decides
// what of several errors it reports: any of its answers will do.
func TestStrategicMergeLikeUpstream(t *testing.T) {
	types := []any{new(corev1.Pod), new(corev1.Service), new(corev1.Node), new(corev1.ServiceAccount), new(corev1.ConfigMap),
		new(appsv1.Deployment), new(batchv1.CronJob), new(certificatesv1.CertificateSigningRequest), new(networkingv1.NetworkPolicy)}
	outcomes := map[string]int{}
	for round := range 2000 {
		g := &generator{Rand: rand.New(rand.NewPCG(uint64(round), 7)), fields: map[reflect.Type][]reflect.StructField{}, wrong: round%3 == 0}
		typ := types[round%len(types)]
		doc := func(patch bool) []byte {
			g.patch = patch
			b, err := json.Marshal(g.structOf(reflect.TypeOf(typ).Elem(), 9))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		target, patch := doc(false), doc(true)
		got := ourStrategic(t, target, patch, typ)
		var answers []string
		for range 40 {
			want := upstreamStrategic(t, target, patch, typ)
			if answers = append(answers, want); want == got || strings.HasPrefix(want, "panic: ") {
				break
			}
		}
		switch want := answers[len(answers)-1]; {
		case strings.HasPrefix(want, "panic: "):
			outcomes["panic"]++
		case want != got:
			slices.Sort(answers)
			t.Errorf("round %d: %T\n%s\npatched with\n%s\nis\n%s\nwant\n%s", round, typ, target, patch, got, strings.Join(slices.Compact(answers), "\nor "))
		case strings.HasPrefix(want, "error: "):
			outcomes["refused"]++
		default:
			outcomes["patched"]++
		}
	}
	t.Log(outcomes)
	if outcomes["patched"] < 500 || outcomes["refused"] < 200 {
		t.Errorf("too few of a kind: %v", outcomes)
	}
}
