package core

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	eventsv1beta1 "k8s.io/api/events/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

const eventsGroup = "events.k8s.io"

// Events defines Event, served as core/v1 and as events.k8s.io from one table that holds the former.
func Events() *resource.Definition {
	doc := corev1.Event{}.SwaggerDoc()
	columns := []metav1.TableColumnDefinition{
		{Name: "Last Seen", Type: "string", Description: doc["lastTimestamp"]},
		{Name: "Type", Type: "string", Description: doc["type"]},
		{Name: "Reason", Type: "string", Description: doc["reason"]},
		{Name: "Object", Type: "string", Description: doc["involvedObject"]},
		{Name: "Subobject", Type: "string", Priority: 1, Description: corev1.ObjectReference{}.SwaggerDoc()["fieldPath"]},
		{Name: "Source", Type: "string", Priority: 1, Description: doc["source"]},
		{Name: "Message", Type: "string", Description: doc["message"]},
		{Name: "First Seen", Type: "string", Priority: 1, Description: doc["firstTimestamp"]},
		{Name: "Count", Type: "string", Priority: 1, Description: doc["count"]},
		{Name: "Name", Type: "string", Priority: 1, Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
	}
	return resource.Typed[corev1.Event]{
		Definition: resource.Definition{
			Resource: api.Events, Kind: "Event", Singular: "event", ShortNames: []string{"ev"}, Namespaced: true,
			Versions: []resource.Version{
				{Name: "v1", Storage: true, Served: true, Columns: columns},
				{Group: eventsGroup, Name: "v1", Served: true, Codec: newerEvents("v1"), Model: "io.k8s.api.events.v1.Event", ValidateName: apivalidation.NameIsDNSSubdomain},
				olderEvents(),
			},
			Index:           eventFields(),
			CreateOnUpdate:  true,
			PlainFinalizers: true,
			ValidateName:    path.ValidatePathSegmentName,
		},
		Validate: validateEvent,
		Cells:    eventCells,
	}.Define()
}

// eventFields are the field selectors of events; core and events.k8s.io know but their own names of fields, as upstream.
// Only the one that kubectl describe uses is worth an index: there are many events, and they are short-lived.
func eventFields() []resource.IndexField {
	fields := map[string]func(e *corev1.Event) string{
		"kind":            func(e *corev1.Event) string { return e.InvolvedObject.Kind },
		"namespace":       func(e *corev1.Event) string { return e.InvolvedObject.Namespace },
		"name":            func(e *corev1.Event) string { return e.InvolvedObject.Name },
		"apiVersion":      func(e *corev1.Event) string { return e.InvolvedObject.APIVersion },
		"resourceVersion": func(e *corev1.Event) string { return e.InvolvedObject.ResourceVersion },
		"fieldPath":       func(e *corev1.Event) string { return e.InvolvedObject.FieldPath },
	}
	core, newer := []string{"v1"}, []string{eventsGroup + "/v1", eventsGroup + "/v1beta1"}
	index := []resource.IndexField{
		{Name: "involvedObject.uid", Only: core, Values: values(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })},
		{Name: "regarding.uid", Unindexed: true, Only: newer, Values: values(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })},
		{Name: "reason", Unindexed: true, Values: values(func(e *corev1.Event) string { return e.Reason })},
		{Name: "type", Unindexed: true, Values: values(func(e *corev1.Event) string { return e.Type })},
		{Name: "reportingComponent", Unindexed: true, Only: core, Values: values(func(e *corev1.Event) string { return e.ReportingController })},
		{Name: "reportingController", Unindexed: true, Only: newer, Values: values(func(e *corev1.Event) string { return e.ReportingController })},
		{Name: "source", Unindexed: true, Only: core, Values: values(eventComponent)},
	}
	for name, f := range fields {
		index = append(index,
			resource.IndexField{Name: "involvedObject." + name, Unindexed: true, Only: core, Values: values(f)},
			resource.IndexField{Name: "regarding." + name, Unindexed: true, Only: newer, Values: values(f)})
	}
	return index
}

func values(f func(*corev1.Event) string) func(*resource.Object) []string {
	return func(o *resource.Object) []string { return []string{f(o.Value.(*corev1.Event))} }
}

func eventComponent(e *corev1.Event) string { return or(e.Source.Component, e.ReportingController) }

// eventCodec reads and writes the versions of events.k8s.io, whose JSON is the same; in flight and stored, an event is a
// core/v1 one.
type eventCodec struct {
	json resource.TypedCodec[eventsv1.Event]
}

func newerEvents(version string) eventCodec {
	return eventCodec{resource.TypedCodec[eventsv1.Event]{APIVersion: eventsGroup + "/" + version, Kind: "Event"}}
}

func olderEvents() resource.Version {
	v := resource.Older[eventsv1beta1.Event](eventsGroup, "v1beta1")
	v.AsStored, v.Codec = false, newerEvents(v.Name)
	return v
}

// Decode implements resource.Codec.
func (c eventCodec) Decode(data []byte, written bool) (*resource.Object, []string, error) {
	o, problems, err := c.json.Decode(data, written)
	if err != nil {
		return nil, nil, err
	}
	e := o.Value.(*eventsv1.Event)
	stored := &corev1.Event{
		TypeMeta: e.TypeMeta, ObjectMeta: e.ObjectMeta, InvolvedObject: e.Regarding, Reason: e.Reason, Message: e.Note, Type: e.Type,
		Source: e.DeprecatedSource, FirstTimestamp: e.DeprecatedFirstTimestamp, LastTimestamp: e.DeprecatedLastTimestamp, Count: e.DeprecatedCount,
		EventTime: e.EventTime, Action: e.Action, Related: e.Related, ReportingController: e.ReportingController, ReportingInstance: e.ReportingInstance,
	}
	if s := e.Series; s != nil {
		stored.Series = &corev1.EventSeries{Count: s.Count, LastObservedTime: s.LastObservedTime}
	}
	o, err = resource.TypedObject(stored)
	return o, problems, err
}

// Encode implements resource.Codec.
func (c eventCodec) Encode(dst []byte, o *resource.Object) ([]byte, error) {
	have := o.Value.(*corev1.Event)
	e := &eventsv1.Event{
		ObjectMeta: have.ObjectMeta, Regarding: have.InvolvedObject, Reason: have.Reason, Note: have.Message, Type: have.Type,
		DeprecatedSource: have.Source, DeprecatedFirstTimestamp: have.FirstTimestamp, DeprecatedLastTimestamp: have.LastTimestamp, DeprecatedCount: have.Count,
		EventTime: have.EventTime, Action: have.Action, Related: have.Related, ReportingController: have.ReportingController, ReportingInstance: have.ReportingInstance,
	}
	if s := have.Series; s != nil {
		e.Series = &eventsv1.EventSeries{Count: s.Count, LastObservedTime: s.LastObservedTime}
	}
	t, err := resource.TypedObject(e)
	if err != nil {
		return nil, err
	}
	return c.json.Encode(dst, t)
}

// NewMessage implements resource.MessageCodec.
func (eventCodec) NewMessage() any { return new(eventsv1.Event) }

// maxEventText bounds reason, action and reportingInstance; maxEventNote bounds the message. In characters.
const (
	maxEventText = 128
	maxEventNote = 1024
)

func validateEvent(_ context.Context, w *resource.Write, o, old *corev1.Event) field.ErrorList {
	errs := validateEventOrigin(o, w.Version.Group == eventsGroup)
	if w.Version.APIVersion() != eventsGroup+"/v1" {
		return errs // the earlier versions ask no more, as upstream
	}
	errs = append(errs, rules.StandardFinalizers(&o.ObjectMeta, field.NewPath("metadata"))...)
	if old != nil {
		return append(errs, validateEventUpdate(o, old)...)
	}
	errs = append(errs, validateSeries(o.Series)...)
	if o.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if o.Type != corev1.EventTypeNormal && o.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", "has invalid value: "+o.Type))
	}
	for _, deprecated := range []struct {
		name string
		set  bool
	}{
		{"firstTimestamp", !o.FirstTimestamp.IsZero()}, {"lastTimestamp", !o.LastTimestamp.IsZero()},
		{"count", o.Count != 0}, {"source", o.Source != corev1.EventSource{}},
	} {
		if deprecated.set {
			errs = append(errs, field.Invalid(field.NewPath(deprecated.name), "", "needs to be unset"))
		}
	}
	return errs
}

// validateEventOrigin checks that the event is about an object of its own namespace and, of an event that has an
// eventTime, who reports what.
func validateEventOrigin(o *corev1.Event, newer bool) field.ErrorList {
	var errs field.ErrorList
	about := field.NewPath("involvedObject", "namespace")
	elsewhere := func() {
		errs = append(errs, field.Invalid(about, o.InvolvedObject.Namespace, "does not match event.namespace"))
	}
	ns := o.InvolvedObject.Namespace
	if o.EventTime.IsZero() {
		if ns == "" && o.Namespace != "" && o.Namespace != metav1.NamespaceDefault || ns != "" && ns != o.Namespace {
			elsewhere()
		}
	} else {
		if ns == "" && o.Namespace != metav1.NamespaceDefault && o.Namespace != metav1.NamespaceSystem {
			elsewhere()
		}
		errs = append(errs, validateReporting(o, newer)...)
	}
	for _, msg := range validation.IsDNS1123Subdomain(o.Namespace) {
		errs = append(errs, field.Invalid(field.NewPath("namespace"), o.Namespace, msg))
	}
	return errs
}

func validateReporting(o *corev1.Event, newer bool) field.ErrorList {
	var errs field.ErrorList
	controller := field.NewPath("reportingComponent")
	if newer {
		controller = field.NewPath("reportingController")
	}
	if o.ReportingController == "" {
		errs = append(errs, field.Required(controller, ""))
	}
	for _, msg := range validation.IsQualifiedName(o.ReportingController) {
		errs = append(errs, field.Invalid(controller, o.ReportingController, msg))
	}
	for _, f := range []struct{ name, value string }{{"reportingInstance", o.ReportingInstance}, {"action", o.Action}, {"reason", o.Reason}} {
		switch {
		case f.value == "":
			errs = append(errs, field.Required(field.NewPath(f.name), ""))
		case len(f.value) > maxEventText:
			errs = append(errs, field.Invalid(field.NewPath(f.name), "", "can have at most 128 characters"))
		}
	}
	if len(o.Message) > maxEventNote {
		errs = append(errs, field.Invalid(field.NewPath("message"), "", "can have at most 1024 characters"))
	}
	return errs
}

func validateSeries(s *corev1.EventSeries) field.ErrorList {
	var errs field.ErrorList
	if s == nil {
		return nil
	}
	if s.Count < 2 {
		errs = append(errs, field.Invalid(field.NewPath("series.count"), "", "should be at least 2"))
	}
	if s.LastObservedTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("series.lastObservedTime"), ""))
	}
	return errs
}

// validateEventUpdate lets an update of the newer version change the series only. As on upstream, a new reason is refused
// twice.
func validateEventUpdate(o, old *corev1.Event) field.ErrorList {
	var errs field.ErrorList
	if !equality.Semantic.DeepEqual(o.Series, old.Series) {
		errs = append(errs, validateSeries(o.Series)...)
	}
	for _, f := range []struct {
		name     string
		new, old any
	}{
		{"involvedObject", o.InvolvedObject, old.InvolvedObject}, {"reason", o.Reason, old.Reason}, {"message", o.Message, old.Message},
		{"source", o.Source, old.Source}, {"firstTimestamp", o.FirstTimestamp, old.FirstTimestamp}, {"lastTimestamp", o.LastTimestamp, old.LastTimestamp},
		{"count", o.Count, old.Count}, {"reason", o.Reason, old.Reason}, {"type", o.Type, old.Type}, {"eventTime", micro(o.EventTime), micro(old.EventTime)},
		{"action", o.Action, old.Action}, {"related", o.Related, old.Related},
		{"reportingController", o.ReportingController, old.ReportingController}, {"reportingInstance", o.ReportingInstance, old.ReportingInstance},
	} {
		errs = append(errs, apivalidation.ValidateImmutableField(f.new, f.old, field.NewPath(f.name))...)
	}
	return errs
}

// micro is a time as its JSON keeps it.
func micro(t metav1.MicroTime) metav1.MicroTime {
	return metav1.NewMicroTime(t.Truncate(time.Microsecond))
}

func eventCells(o *corev1.Event) []any {
	first := resource.Age(o.FirstTimestamp)
	if o.FirstTimestamp.IsZero() {
		first = microAge(o.EventTime)
	}
	last, count := first, int64(o.Count)
	if !o.LastTimestamp.IsZero() {
		last = resource.Age(o.LastTimestamp)
	}
	if s := o.Series; s != nil {
		last, count = microAge(s.LastObservedTime), int64(s.Count)
	} else if count == 0 {
		count = 1
	}
	about := strings.ToLower(o.InvolvedObject.Kind)
	if o.InvolvedObject.Name != "" {
		about += "/" + o.InvolvedObject.Name
	}
	from := []string{eventComponent(o)}
	if host := or(o.Source.Host, o.ReportingInstance); host != "" {
		from = append(from, host)
	}
	return []any{last, o.Type, o.Reason, about, o.InvolvedObject.FieldPath, strings.Join(from, ", "), strings.TrimSpace(o.Message), first, count, o.Name}
}

func microAge(t metav1.MicroTime) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(t.Time))
}
