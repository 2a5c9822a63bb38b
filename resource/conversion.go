package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/webhook"
)

// Converter is a Codec whose objects in flight are each in the version they say, and are converted between them.
type Converter interface {
	Codec
	// Convert returns the objects in the codec's version: themselves where they are in it, else copies. Of a kind that is
	// converted by webhook, the others are sent to it together. An error is worded as upstream's for the first object that
	// could not be converted; then there are none.
	Convert(os []*Object) ([]*Object, error)
}

// ToStorage is o, which owners own, in the version that d stores: o itself when it is in it.
func ToStorage(d *Definition, o *Object, owners api.Owners) (*Object, error) {
	codec := d.Storage().Codec
	return toVersion(codec, Owned(codec, o, owners))
}

// CheckStorable refuses an object whose embedded metadata the version it is written in lets pass, but which the version it
// will be stored in cannot hold. Upstream answers with a 500 of the same message.
func CheckStorable(d *Definition, o *Object) error {
	v, ok := d.Storage().Codec.(*customVersion)
	if !ok {
		return nil
	}
	if from := v.kind.version(o); from == v || v.alike(from) {
		return nil
	}
	doc := documentOf(o).Clone()
	if _, err := v.schema().Coerce(&doc, false); err != nil {
		return api.BadRequest("%s", err)
	}
	return nil
}

// Owned is o as it is converted into a codec's version: when a webhook will do that, which upstream shows the whole object,
// a copy that carries the managedFields. No object that comes of a conversion has them.
func Owned(codec Codec, o *Object, owners api.Owners) *Object {
	v, ok := codec.(*customVersion)
	if !ok || v.kind.webhook == nil || len(owners) == 0 || v.kind.version(o) == v {
		return o
	}
	meta := *o.Meta
	meta.ManagedFields = ManagedFields(owners)
	return &Object{Meta: &meta, Value: o.Value}
}

// ManagedFields is owners as metadata has them.
func ManagedFields(owners api.Owners) []metav1.ManagedFieldsEntry {
	entries := make([]metav1.ManagedFieldsEntry, len(owners))
	for i, o := range owners {
		entries[i] = metav1.ManagedFieldsEntry{
			Manager: o.Manager, Operation: metav1.ManagedFieldsOperationType(o.Operation), APIVersion: o.APIVersion,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(o.Fields), Subresource: o.Subresource,
		}
		if o.Time != 0 {
			at := metav1.Unix(o.Time, 0)
			entries[i].Time = &at
		}
	}
	return entries
}

func toVersion(codec Codec, o *Object) (*Object, error) {
	c, ok := codec.(Converter)
	if !ok {
		return o, nil
	}
	converted, err := c.Convert([]*Object{o})
	if err != nil {
		return nil, err
	}
	return converted[0], nil
}

// conversionTimeout bounds one review: upstream's.
const conversionTimeout = 30 * time.Second

// Bounds of one review, beyond which objects are sent in several: what is converted and what comes back is all in memory.
const (
	reviewObjects = 500
	reviewBytes   = 4 << 20
)

// conversionWebhook is spec.conversion of a definition with the strategy Webhook.
type conversionWebhook struct {
	client  webhook.Client
	version string // of ConversionReview
	call    func(ctx context.Context, to webhook.Client, body []byte, timeout time.Duration) ([]byte, error)
}

// newConversionWebhook reads spec.conversion; nil for conversion None.
func newConversionWebhook(c *apiextensionsv1.CustomResourceConversion, caller *webhook.Caller) *conversionWebhook {
	if c == nil || c.Strategy != apiextensionsv1.WebhookConverter {
		return nil
	}
	w := new(conversionWebhook)
	if caller != nil {
		w.call = caller.Call
	}
	if c.Webhook == nil {
		return w
	}
	for _, v := range c.Webhook.ConversionReviewVersions {
		if v == "v1" || v == "v1beta1" {
			w.version = v
			break
		}
	}
	config := c.Webhook.ClientConfig
	if config == nil {
		return w
	}
	w.client.CABundle = config.CABundle
	if config.URL != nil {
		w.client.URL = *config.URL
	}
	if s := config.Service; s != nil {
		w.client.Service = &webhook.Service{Namespace: s.Namespace, Name: s.Name, Port: 443}
		if s.Port != nil {
			w.client.Service.Port = *s.Port
		}
		if s.Path != nil {
			w.client.Service.Path = *s.Path
		}
	}
	return w
}

// Convert implements Converter.
func (v *customVersion) Convert(os []*Object) ([]*Object, error) {
	out := slices.Clone(os)
	var foreign []int
	for i, o := range os {
		doc, ok := o.Value.(*object.Value)
		if !ok {
			return nil, fmt.Errorf("converting %s: have %T, want a document", v.kind.names.Kind, o.Value)
		}
		from := doc.Get("apiVersion").Str()
		switch {
		case from == v.apiVersion:
		case v.kind.webhook != nil && v.kind.byAPIVersion(from) != nil:
			foreign = append(foreign, i)
		default:
			c, err := v.relabel(o)
			if err != nil {
				return nil, err
			}
			out[i] = c
		}
	}
	for len(foreign) > 0 {
		n, err := v.review(os, out, foreign)
		if err != nil {
			return nil, conversionError(err)
		}
		for _, place := range foreign[:n] {
			if err := v.fit(documentOf(out[place])); err != nil {
				return nil, conversionError(err)
			}
		}
		foreign = foreign[n:]
	}
	return out, nil
}

// Reversion is a whole document of a custom kind in another version, for those who decide who owns what. As on upstream it
// is what the conversion made of it: the version's schema drops nothing of it and adds no defaults.
func Reversion(to *Version, doc *object.Value) (*object.Value, error) {
	v, ok := to.Codec.(*customVersion)
	if !ok {
		return nil, fmt.Errorf("converting to %s: it is no version of a custom kind", to.APIVersion())
	}
	if v.kind.webhook == nil || doc.Len() == 2 && doc.Get("kind") != nil && doc.Get("apiVersion") != nil { // what is empty is not sent
		c := doc.Clone()
		c.Set("apiVersion", object.NewString(v.apiVersion))
		return &c, nil
	}
	o, err := v.DecodeStored(doc)
	if err != nil {
		return nil, err
	}
	out := make([]*Object, 1)
	if _, err := v.review([]*Object{o}, out, []int{0}); err != nil {
		return nil, conversionError(err)
	}
	return withMeta(documentOf(out[0]), out[0].Meta)
}

// fit drops what the version does not know from a document that was converted to it. The storage version also fills in its
// defaults, as upstream does whenever it reads what is stored.
func (v *customVersion) fit(doc *object.Value) error {
	if _, err := v.normalize(doc, true); err != nil {
		return err
	}
	if v == v.kind.storage {
		v.schema().Default(doc)
	}
	return nil
}

// relabel is conversion None: the apiVersion is exchanged and what the version does not know is dropped.
func (v *customVersion) relabel(o *Object) (*Object, error) {
	doc := documentOf(o)
	alike := v.alike(v.kind.version(o))
	c := doc.Clone()
	c.Set("apiVersion", object.NewString(v.apiVersion))
	if !alike {
		if err := v.fit(&c); err != nil {
			return nil, fmt.Errorf("converting %s %s to %s: %w", v.kind.names.Kind, o.Meta.Name, v.apiVersion, err)
		}
	}
	meta := o.Meta
	if len(meta.ManagedFields) > 0 {
		bare := *meta
		bare.ManagedFields = nil
		meta = &bare
	}
	return &Object{Meta: meta, Value: &c}, nil
}

// conversionError is what a client is told of a conversion that failed: upstream's 500 without a reason.
func conversionError(err error) error {
	return &api.Error{Status: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error()}}
}

// review sends the objects at the given places to the webhook, as many of them as go into one review, and puts what it
// makes of them into out. It returns how many.
func (v *customVersion) review(os, out []*Object, places []int) (int, error) {
	w := v.kind.webhook
	gvk := documentOf(os[places[0]]).Get("apiVersion").Str() + ", Kind=" + v.kind.names.Kind
	if w.version == "" {
		return 0, errors.New("no supported conversion review versions")
	}
	if w.call == nil {
		return 0, fmt.Errorf("conversion webhook for %s failed: webhooks are not called here", gvk)
	}
	uid := uuid.NewString()
	body := fmt.Appendf(nil, `{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/%s","request":{"uid":"%s","desiredAPIVersion":`, w.version, uid)
	body = append(api.AppendString(body, v.apiVersion), `,"objects":[`...)
	n := 0
	for ; n < len(places) && n < reviewObjects && (n == 0 || len(body) < reviewBytes); n++ {
		if n > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = appendReviewed(body, os[places[n]]); err != nil {
			return 0, err
		}
	}
	body = append(body, `]},"response":{"uid":"","convertedObjects":null,"result":{"metadata":{}}}}`...)
	// Not the client's context: what is made for one is kept for others.
	answer, err := w.call(context.Background(), w.client, body, conversionTimeout)
	if err != nil {
		return 0, fmt.Errorf("conversion webhook for %s failed: %w", gvk, err)
	}
	objects, err := w.answered(answer, uid)
	if err != nil {
		return 0, fmt.Errorf("conversion webhook for %s failed: %w", gvk, err)
	}
	if objects.Len() != n {
		return 0, fmt.Errorf("conversion webhook for %s returned %d objects, expected %d", gvk, objects.Len(), n)
	}
	for i, place := range places[:n] {
		o, bad := v.converted(os[place], objects.Index(i))
		if bad != nil {
			return 0, fmt.Errorf("conversion webhook for %s returned invalid %w", gvk, bad.of(i, n))
		}
		out[place] = o
	}
	return n, nil
}

// appendReviewed appends an object as the webhook sees it.
func appendReviewed(dst []byte, o *Object) ([]byte, error) {
	meta := *o.Meta
	if meta.ResourceVersion == blankRevision {
		meta.ResourceVersion = ""
	}
	whole, err := withMeta(documentOf(o), &meta)
	if err != nil {
		return dst, err
	}
	if len(meta.ManagedFields) > 0 {
		fields, err := json.Marshal(meta.ManagedFields)
		if err != nil {
			return dst, fmt.Errorf("encoding the managedFields of %s: %w", o.Meta.Name, err)
		}
		v, err := object.Parse(fields)
		if err != nil {
			return dst, fmt.Errorf("reading the managedFields of %s: %w", o.Meta.Name, err)
		}
		whole.Get("metadata").Set("managedFields", *v)
	}
	return object.AppendJSON(dst, whole), nil
}

// answered checks a ConversionReview and returns its converted objects.
func (w *conversionWebhook) answered(answer []byte, uid string) (*object.Value, error) {
	review, err := object.Parse(answer)
	if err != nil {
		return nil, fmt.Errorf("couldn't get version/kind; json parse error: %w", err)
	}
	if review.Kind() != object.Map {
		return nil, fmt.Errorf("couldn't get version/kind; json parse error: json: cannot unmarshal %s into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }", review.Kind())
	}
	response := review.Get("response")
	// As upstream, which did not look at them before there was a v1.
	strict := w.version == "v1"
	if strict {
		group, version, found := strings.Cut(review.Get("apiVersion").Str(), "/")
		if !found {
			group, version = "", group
		}
		const want = "apiextensions.k8s.io/v1, Kind=ConversionReview"
		if got := fmt.Sprintf("%s/%s, Kind=%s", group, version, review.Get("kind").Str()); got != want {
			return nil, fmt.Errorf("expected webhook response of %s, got %s", want, got)
		}
	}
	if response.Kind() != object.Map {
		return nil, errors.New("no response provided")
	}
	if got := response.Get("uid").Str(); strict && got != uid {
		return nil, fmt.Errorf("expected response.uid=%q, got %q", uid, got)
	}
	result := response.Get("result")
	if status := result.Get("status").Str(); status != metav1.StatusSuccess {
		if msg := result.Get("message").Str(); msg != "" {
			return nil, errors.New(msg)
		}
		return nil, fmt.Errorf("response.result.status was '%s', not 'Success'", status)
	}
	objects := response.Get("convertedObjects")
	if objects != nil && objects.Kind() != object.List && objects.Kind() != object.Null {
		return nil, fmt.Errorf("response.convertedObjects is a %s, not a list", objects.Kind())
	}
	return objects, nil
}

// misconverted is what is wrong with an object that a webhook returned.
type misconverted struct {
	error
	meta  bool // it is about the labels and annotations
	typed bool // it is about apiVersion and kind
}

// of words the error as upstream does for an object that was sent alone, or as the i-th of n.
func (e *misconverted) of(i, n int) error {
	switch {
	case n > 1 && e.meta:
		return fmt.Errorf("metadata in object at index %d: %w", i, e.error)
	case n > 1:
		return fmt.Errorf("converted object at index %d: %w", i, e.error)
	case e.meta:
		return fmt.Errorf("metadata: %w", e.error)
	case e.typed:
		return fmt.Errorf("object at index 0: %w", e.error)
	}
	return fmt.Errorf("object: %w", e.error)
}

// converted checks what a webhook made of an object: all but labels and annotations of its metadata is kept from the
// object. The version's schema has not seen it yet.
func (v *customVersion) converted(from *Object, to *object.Value) (*Object, *misconverted) {
	if to.Kind() != object.Map {
		return nil, &misconverted{error: fmt.Errorf("it is a %s, not a map", to.Kind())}
	}
	if to.Get("kind").Str() == "" {
		return nil, &misconverted{error: fmt.Errorf("Object 'Kind' is missing in '%s'", shortened(to))}
	}
	if got := to.Get("apiVersion").Str(); got != v.apiVersion {
		return nil, &misconverted{error: fmt.Errorf("invalid groupVersion (expected %s, received %s)", v.apiVersion, got), typed: true}
	}
	if got := to.Get("kind").Str(); got != v.kind.names.Kind {
		return nil, &misconverted{error: fmt.Errorf("invalid kind (expected %s, received %s)", v.kind.names.Kind, got), typed: true}
	}
	meta := to.Get("metadata")
	for _, f := range []struct{ name, path, want string }{
		{"name", "name", from.Meta.Name}, {"namespace", "namespace", from.Meta.Namespace}, {"UID", "uid", string(from.Meta.UID)},
	} {
		if got := meta.Get(f.path).Str(); got != f.want {
			return nil, &misconverted{error: fmt.Errorf("must have the same %s: %s != %s", f.name, f.want, got)}
		}
	}
	kept := *from.Meta
	kept.ManagedFields = nil
	if err := restoreMeta(&kept, meta); err != nil {
		return nil, &misconverted{error: err, meta: true}
	}
	doc := to.Clone()
	doc.Remove("metadata")
	return &Object{Meta: &kept, Value: &doc}, nil
}

// restoreMeta gives meta, a shallow copy of the object's, the labels and annotations that a webhook returned.
func restoreMeta(meta *metav1.ObjectMeta, returned *object.Value) error {
	switch {
	case returned == nil:
		return errors.New("missing metadata in converted object")
	case returned.Kind() != object.Map:
		return fmt.Errorf("invalid metadata of type %T in converted object", returned.ToAny())
	}
	labels, changed, err := returnedTexts("labels", meta.Labels, returned.Get("labels"))
	if err != nil {
		return err
	}
	if changed {
		if errs := metav1validation.ValidateLabels(labels, field.NewPath("metadata", "labels")); len(errs) > 0 {
			return errs.ToAggregate()
		}
	}
	annotations, changed, err := returnedTexts("annotations", meta.Annotations, returned.Get("annotations"))
	if err != nil {
		return err
	}
	if changed {
		if errs := apivalidation.ValidateAnnotations(annotations, field.NewPath("metadata", "annotation")); len(errs) > 0 {
			return errs.ToAggregate()
		}
	}
	meta.Labels, meta.Annotations = labels, annotations
	return nil
}

func returnedTexts(name string, had map[string]string, v *object.Value) (texts map[string]string, changed bool, err error) {
	if v.IsNull() {
		return nil, false, nil
	}
	if v.Kind() != object.Map {
		return nil, false, fmt.Errorf("invalid metadata.%s of type %T in converted object", name, v.ToAny())
	}
	texts = make(map[string]string, v.Len())
	changed = len(had) != v.Len()
	for k, e := range v.Fields() {
		if e.Kind() != object.String {
			return nil, false, fmt.Errorf("metadata.%s[%s] must be a string, but is %T in converted object", name, k, e.ToAny())
		}
		// The strings lie in the webhook's answer, which must not live as long as they.
		texts[strings.Clone(k)] = strings.Clone(e.Str())
		if was, ok := had[k]; !ok || was != e.Str() {
			changed = true
		}
	}
	return texts, changed, nil
}

// shortened is a document as an error shows it.
func shortened(v *object.Value) string {
	const most = 1024
	b := object.AppendJSON(nil, v)
	if len(b) > most {
		return string(b[:most]) + "..."
	}
	return string(b)
}
