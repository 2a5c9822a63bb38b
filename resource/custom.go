package resource

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	jsonx "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/schema"
	"pintle.dev/webhook"
)

// FromCRD makes the Definition of the kind that a stored CustomResourceDefinition declares; nil when it is not
// established. What needs the schemas is built on first use, they are not even decoded before: a thousand Definitions that
// nobody uses hold little more than their schemas' JSON.
func FromCRD(rec *api.Record, caller *webhook.Caller) (*Definition, error) {
	var crd struct {
		Metadata struct {
			Generation int64 `json:"generation"`
		} `json:"metadata"`
		Spec struct {
			Group                 string                                    `json:"group"`
			Scope                 apiextensionsv1.ResourceScope             `json:"scope"`
			PreserveUnknownFields bool                                      `json:"preserveUnknownFields"`
			Conversion            *apiextensionsv1.CustomResourceConversion `json:"conversion"`
			Versions              []struct {
				apiextensionsv1.CustomResourceDefinitionVersion `json:",inline"`
				Schema                                          struct {
					OpenAPIV3Schema jsontext.Value `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
		Status struct {
			AcceptedNames apiextensionsv1.CustomResourceDefinitionNames       `json:"acceptedNames"`
			Conditions    []apiextensionsv1.CustomResourceDefinitionCondition `json:"conditions"`
		} `json:"status"`
	}
	if err := jsonx.Unmarshal(rec.JSON(), &crd, storedOptions); err != nil {
		return nil, fmt.Errorf("custom resource definition %s: %w", rec.Name(), err)
	}
	if !slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	}) {
		return nil, nil
	}
	k := customKind{
		crd: strings.Clone(rec.Name()), uid: strings.Clone(rec.UID()), group: crd.Spec.Group, names: crd.Status.AcceptedNames,
		namespaced: crd.Spec.Scope == apiextensionsv1.NamespaceScoped, preserve: crd.Spec.PreserveUnknownFields,
		webhook: newConversionWebhook(crd.Spec.Conversion, caller), loose: loose(crd.Status.Conditions),
		generation: crd.Metadata.Generation,
	}
	k.declaring.Store(uint64(rec.Revision()))
	for i := range crd.Spec.Versions {
		v := &crd.Spec.Versions[i]
		k.versions = append(k.versions, newCustomVersion(&v.CustomResourceDefinitionVersion, within(rec.JSON(), v.Schema.OpenAPIV3Schema)))
	}
	d, err := k.define()
	if err == nil {
		d.Declared = fmt.Sprint(rec.UID(), crd.Metadata.Generation, crd.Status.AcceptedNames, k.loose)
		d.Ending.Store(rec.Is(api.Deleting))
	}
	return d, err
}

// loose reports whether the conditions say that there are schemas that are not structural.
func loose(conditions []apiextensionsv1.CustomResourceDefinitionCondition) bool {
	return slices.ContainsFunc(conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.NonStructuralSchema && c.Status != apiextensionsv1.ConditionFalse
	})
}

// within is the part of a record's JSON that is equal to the given copy of it: while the store keeps the record, a kind's
// schema is in memory once. The copy serves when the record has it written otherwise.
func within(record, part []byte) []byte {
	if i := bytes.Index(record, part); i >= 0 && len(part) > 0 {
		return record[i : i+len(part) : i+len(part)]
	}
	return part
}

// customKind is what the hooks of a custom kind know.
type customKind struct {
	crd, uid   string        // of the CustomResourceDefinition
	generation int64         // of the CustomResourceDefinition
	declaring  atomic.Uint64 // the revision at which the CustomResourceDefinition was last seen to have that generation
	group      string
	names      apiextensionsv1.CustomResourceDefinitionNames
	namespaced bool
	webhook    *conversionWebhook // nil for conversion None
	preserve   bool               // spec.preserveUnknownFields, which only objects from before apiextensions v1 can have
	loose      bool               // schemas may be no structural ones
	versions   []*customVersion
	storage    *customVersion
}

// customVersion is one version of a custom kind. It is the version's Codec and, through shape, its Shape.
type customVersion struct {
	kind       *customKind
	spec       apiextensionsv1.CustomResourceDefinitionVersion // without its schema
	apiVersion string
	source     atomic.Pointer[[]byte]   // of the schema, JSON
	structure  [sha256.Size]byte        // of the part of it that decides what becomes of an object that is read
	ownership  func() [sha256.Size]byte // of the part of it that decides whose fields are whose
	compiled   func() (*schema.Schema, error)
	columns    []column
	cellFields func() *object.Pick // what they look at, and the name
}

func newCustomVersion(spec *apiextensionsv1.CustomResourceDefinitionVersion, source []byte) *customVersion {
	v := &customVersion{spec: *spec}
	v.spec.Schema = nil
	v.source.Store(&source)
	v.ownership = sync.OnceValue(func() [sha256.Size]byte { return sha256.Sum256(schema.Ownership(v.text())) })
	v.compiled = sync.OnceValues(func() (*schema.Schema, error) {
		if v.kind.loose {
			return schema.CompileLoose(v.text())
		}
		return schema.CompileJSON(v.text())
	})
	return v
}

// text is the JSON of the schema.
func (v *customVersion) text() []byte { return *v.source.Load() }

// moveTo has d's versions take their schemas' JSON from where next, which declares the same, has it: in the record that is
// stored now. A write of a condition or an annotation supersedes the record without a new Definition, which would keep the
// old one in memory.
func moveTo(next, d *Definition) {
	for i := range d.Versions {
		was, is := d.Versions[i].Codec.(*customVersion), next.Versions[i].Codec.(*customVersion) // as define makes them
		if bytes.Equal(was.text(), is.text()) {
			was.source.Store(is.source.Load())
		}
	}
}

// hasStatus reports whether the version has the status subresource.
func (v *customVersion) hasStatus() bool {
	return v.spec.Subresources != nil && v.spec.Subresources.Status != nil
}

// scale is the version's scale subresource, nil when there is none.
func (v *customVersion) scale() *apiextensionsv1.CustomResourceSubresourceScale {
	if v.spec.Subresources == nil {
		return nil
	}
	return v.spec.Subresources.Scale
}

// schema is the version's compiled schema. Schemas are validated before they are stored, so that failing to compile is a
// defect; the version then behaves as one without a schema, and Decode reports the error.
func (v *customVersion) schema() *schema.Schema {
	s, err := v.compiled()
	if err != nil {
		return nil
	}
	return s
}

func (k *customKind) define() (*Definition, error) {
	if k.names.Plural == "" || k.names.Kind == "" {
		return nil, fmt.Errorf("custom resource definition %s: its names have not been accepted", k.crd)
	}
	d := &Definition{
		Resource: api.Resource{Group: k.group, Name: k.names.Plural},
		Kind:     k.names.Kind, ListKind: k.names.ListKind, Singular: k.names.Singular,
		ShortNames: k.names.ShortNames, Categories: k.names.Categories, Namespaced: k.namespaced,
		Custom: true, PinnedUpdate: true, Settled: new(atomic.Bool), Ending: new(atomic.Bool),
	}
	slices.SortStableFunc(k.versions, func(a, b *customVersion) int {
		return -version.CompareKubeAwareVersionStrings(a.spec.Name, b.spec.Name)
	})
	for _, v := range k.versions {
		v.kind, v.apiVersion = k, k.group+"/"+v.spec.Name
		structure := v.text()
		if !k.loose {
			structure = schema.Structure(structure)
		}
		v.structure = sha256.Sum256(structure)
		if v.spec.Storage {
			k.storage = v
		}
	}
	if k.storage == nil {
		return nil, fmt.Errorf("custom resource definition %s: no version is stored", k.crd)
	}
	d.Generation, d.Stands = k.fingerprint(), k.stands
	for _, v := range k.versions {
		v.columns = columnsOf(v.spec.AdditionalPrinterColumns)
		v.cellFields = sync.OnceValue(v.columnFields)
		d.Versions = append(d.Versions, Version{
			Group: k.group, Name: v.spec.Name, Storage: v.spec.Storage, Served: v.spec.Served, Warning: k.deprecation(v),
			Converted: k.webhook != nil,
			AsStored:  v == k.storage || k.webhook == nil && v.alike(k.storage),
			Shape:     customShape{v}, Columns: tableColumns(v.columns), Codec: v, Subresources: v.subresources(),
		})
	}
	d.Index = k.indexes()
	d.Hooks = Hooks{
		Prepare: k.prepare, Default: k.fillDefaults, Validate: k.validate, Warn: warnFinalizers, Refuse: k.refuse,
		Claim: k.claim, Cells: k.cells,
	}
	return d, nil
}

// fingerprint covers what decides the bytes and the index entries of a stored object.
func (k *customKind) fingerprint() uint64 {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%t\x00%s\x00", k.group, k.names.Kind, k.storage.spec.Name, k.preserve, k.storage.structure)
	for _, v := range k.versions {
		for _, f := range v.spec.SelectableFields {
			fmt.Fprintf(h, "%s\x00", f.JSONPath)
		}
	}
	return binary.LittleEndian.Uint64(h.Sum(nil))
}

// deprecation is the warning for requests to a deprecated version: the author's, or one that names the newest version
// to use instead.
func (k *customKind) deprecation(v *customVersion) string {
	if !v.spec.Deprecated {
		return ""
	}
	if w := v.spec.DeprecationWarning; w != nil {
		return *w
	}
	msg := fmt.Sprintf("%s %s is deprecated", v.apiVersion, k.names.Kind)
	for _, o := range k.versions {
		newer := version.CompareKubeAwareVersionStrings(v.spec.Name, o.spec.Name) < 0
		if o.spec.Served && !o.spec.Deprecated && newer {
			return fmt.Sprintf("%s; use %s %s", msg, o.apiVersion, k.names.Kind)
		}
	}
	return msg
}

// alike reports whether a document of the one version is one of the other but for its apiVersion.
func (v *customVersion) alike(o *customVersion) bool {
	return v.structure == o.structure
}

// version finds the version an object is in; the stored one for an apiVersion that is none of the kind's.
func (k *customKind) version(o *Object) *customVersion {
	if v := k.byAPIVersion(documentOf(o).Get("apiVersion").Str()); v != nil {
		return v
	}
	return k.storage
}

// byAPIVersion finds the version of that name; nil when it is none of the kind's.
func (k *customKind) byAPIVersion(at string) *customVersion {
	for _, v := range k.versions {
		if v.apiVersion == at {
			return v
		}
	}
	return nil
}

func documentOf(o *Object) *object.Value { return o.Value.(*object.Value) }

// subresources are those that the version declares.
func (v *customVersion) subresources() map[string]Subresource {
	m := map[string]Subresource{}
	verbs := []api.Verb{api.Get, api.Patch, api.Update}
	if v.hasStatus() {
		m["status"] = Subresource{Verbs: verbs}
	}
	if sc := v.scale(); sc != nil {
		m["scale"] = Subresource{
			Verbs: verbs, Group: "autoscaling", Version: "v1", Kind: "Scale",
			Scale: &Scale{Path: sc.SpecReplicasPath, Spec: v.specReplicas, SetSpec: v.setSpecReplicas, Status: v.statusReplicas, Selector: v.selector},
		}
	}
	return m
}

// indexes declare the selectable fields of all served versions.
func (k *customKind) indexes() []IndexField {
	var fields []IndexField
	for _, v := range k.versions {
		for _, f := range v.spec.SelectableFields {
			name := strings.TrimPrefix(f.JSONPath, ".")
			if !v.spec.Served {
				continue
			}
			if i := slices.IndexFunc(fields, func(f IndexField) bool { return f.Name == name }); i >= 0 {
				fields[i].Only = append(fields[i].Only, v.apiVersion)
				continue
			}
			path := parsePath(f.JSONPath)
			fields = append(fields, IndexField{Name: name, Only: []string{v.apiVersion}, Values: func(o *Object) []string {
				return []string{printed(path.find(o))}
			}})
		}
	}
	return fields
}

// customShape builds the schema it stands for on first use.
type customShape struct{ *customVersion }

func (s customShape) Field(name string) object.Shape {
	c := s.schema()
	if c == nil {
		return nil
	}
	return c.Field(name)
}
func (s customShape) Declares(name string) bool {
	c := s.schema()
	return c != nil && c.Declares(name)
}
func (s customShape) Item() object.Shape        { return nil }
func (s customShape) Atomic() bool              { return false }
func (s customShape) Set() bool                 { return false }
func (s customShape) Keys() []string            { return nil }
func (s customShape) KeyDefault(string) string  { return "" }
func (s customShape) Patch() (string, []string) { return "", nil }

// Admits reports that a document certainly has only members that the schema of a custom kind's version declares, with
// values of their types.
func Admits(v *Version, doc *object.Value) bool {
	s := schemaOf(v)
	return s != nil && s.Admits(doc)
}

// AdmitsBesides is Admits of all but the document's own metadata. Where there is no structural schema, anything fits.
func AdmitsBesides(v *Version, doc *object.Value) bool {
	s := schemaOf(v)
	return s == nil || !s.Structural() || s.AdmitsBesides(doc)
}

// schemaOf is the schema of a custom kind's version; nil when it has none, or v is none of a custom kind.
func schemaOf(v *Version) *schema.Schema {
	if c, ok := v.Codec.(*customVersion); ok {
		return c.schema()
	}
	return nil
}

// SchemaJSON is the OpenAPI v3 schema of a custom kind's version as its author wrote it, in JSON; nil when d is no custom
// kind, or the version has none or one that is not structural, which upstream does not publish. The caller must not change
// it.
func SchemaJSON(v *Version) []byte {
	c, ok := v.Codec.(*customVersion)
	if !ok || c.kind.loose && !c.schema().Structural() {
		return nil
	}
	return c.text()
}

// PreservesUnknown reports whether a custom kind keeps fields that its schemas do not know, everywhere.
func PreservesUnknown(v *Version) bool {
	c, ok := v.Codec.(*customVersion)
	return ok && c.kind.preserve
}

// SelectableFields are the paths of the fields that a custom kind's version declares to be selectable, in its order and
// without the leading dot; nil for built-in kinds.
func SelectableFields(v *Version) []string {
	c, ok := v.Codec.(*customVersion)
	if !ok {
		return nil
	}
	var paths []string
	for _, f := range c.spec.SelectableFields {
		paths = append(paths, strings.TrimPrefix(f.JSONPath, "."))
	}
	return paths
}

// columnsOf are the columns a version declares; the age when it declares none.
func columnsOf(declared []apiextensionsv1.CustomResourceColumnDefinition) []column {
	if len(declared) == 0 {
		declared = []apiextensionsv1.CustomResourceColumnDefinition{
			{Name: "Age", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"], JSONPath: ".metadata.creationTimestamp"},
		}
	}
	columns := make([]column, len(declared))
	for i := range declared {
		c := &declared[i]
		columns[i] = column{
			CustomResourceColumnDefinition: *c,
			path:                           sync.OnceValue(func() *fieldPath { return parsePath(c.JSONPath) }),
		}
		columns[i].Description = cmp.Or(c.Description, "Custom resource definition column (in JSONPath format): "+c.JSONPath)
	}
	return columns
}
