package server

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// listOptions are the query of a list, watch or deletecollection: metav1.ListOptions, read and checked.
type listOptions struct {
	selector selector

	version api.Revision // resourceVersion
	given   bool         // resourceVersion was given
	match   metav1.ResourceVersionMatch
	limit   int64
	next    string // continue

	timeout   time.Duration // 0: none given
	bookmarks bool
	initial   *bool // sendInitialEvents
}

// selector is the part of the options that chooses objects.
type selector struct {
	labels labels.Selector // nil: everything
	fields []requirement
	d      *resource.Definition
	v      *resource.Version
}

// empty reports whether the selector lets everything pass.
func (s *selector) empty() bool { return s.labels == nil && len(s.fields) == 0 }

// parseListOptions reads the query of a request for d. Errors are upstream's: 400 for what cannot be read, 422 for what
// does not go together.
func parseListOptions(d *resource.Definition, v *resource.Version, q url.Values, verb api.Verb) (listOptions, error) {
	var o listOptions
	if len(q) == 0 {
		return o, nil
	}
	o.selector.d, o.selector.v = d, v
	var err error
	// A parameter that may come in any list request is read even where it means nothing, so that it is refused alike.
	if o.limit, err = intParam(q, "limit"); err != nil {
		return o, err
	}
	seconds, err := intParam(q, "timeoutSeconds")
	if err != nil {
		return o, err
	}
	// The longest timeout a Duration holds is as good as none.
	o.timeout = time.Duration(min(max(seconds, 0), int64(24*time.Hour/time.Second))) * time.Second
	o.match = metav1.ResourceVersionMatch(q.Get("resourceVersionMatch"))
	o.next = q.Get("continue")
	o.bookmarks = boolParam(q, "allowWatchBookmarks")
	if _, ok := q["sendInitialEvents"]; ok {
		b := boolParam(q, "sendInitialEvents")
		o.initial = &b
	}
	if s := q.Get("labelSelector"); s != "" {
		if o.selector.labels, err = labels.Parse(s); err != nil {
			return o, api.BadRequest("%s", err)
		}
		if o.selector.labels.Empty() {
			o.selector.labels = nil
		}
	}
	if o.selector.fields, err = parseFieldSelector(d, v, q.Get("fieldSelector")); err != nil {
		return o, err
	}
	version := q.Get("resourceVersion")
	watch := verb == api.Watch
	if errs := o.check(version, watch); len(errs) > 0 {
		return o, api.Invalid(metav1.GroupName, "ListOptions", "", errs)
	}
	o.given = version != ""
	if o.version, err = parseVersion(version); err != nil {
		if verb == api.DeleteCollection || !watch && (o.limit > 0 || o.match == metav1.ResourceVersionMatchExact) {
			err = unreadableVersion(err)
		}
		return o, err
	}
	if !watch && o.limit > 0 {
		o.exactPage()
	}
	return o, nil
}

// exactPage makes a resourceVersion of a request for pages mean that very state, where nothing else is said: the oldest
// of upstream's rules on what one means in a list.
func (o *listOptions) exactPage() {
	if o.version > 0 && o.match == "" && o.next == "" {
		o.match = metav1.ResourceVersionMatchExact
	}
}

// check applies the rules on which options go together (ValidateListOptions of apimachinery's internalversion).
func (o *listOptions) check(version string, watch bool) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("resourceVersionMatch")
	forbid := func(p *field.Path, why string) { errs = append(errs, field.Forbidden(p, why)) }
	if watch {
		if o.initial != nil && o.match != metav1.ResourceVersionMatchNotOlderThan {
			forbid(at, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
		}
		if o.match != "" {
			if o.initial == nil {
				forbid(at, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
			}
			if o.match != metav1.ResourceVersionMatchNotOlderThan {
				errs = append(errs, field.NotSupported(at, o.match, []string{string(metav1.ResourceVersionMatchNotOlderThan)}))
			}
		}
		if o.next != "" {
			forbid(at, "resourceVersionMatch is forbidden when continue is provided")
		}
		return errs
	}
	if o.match != "" {
		if version == "" {
			forbid(at, "resourceVersionMatch is forbidden unless resourceVersion is provided")
		}
		if o.next != "" {
			forbid(at, "resourceVersionMatch is forbidden when continue is provided")
		}
		if o.match != metav1.ResourceVersionMatchExact && o.match != metav1.ResourceVersionMatchNotOlderThan {
			errs = append(errs, field.NotSupported(at, o.match,
				[]string{string(metav1.ResourceVersionMatchExact), string(metav1.ResourceVersionMatchNotOlderThan), ""}))
		}
		if o.match == metav1.ResourceVersionMatchExact && version == "0" {
			forbid(at, `resourceVersionMatch "exact" is forbidden for resourceVersion "0"`)
		}
	}
	if o.initial != nil {
		forbid(field.NewPath("sendInitialEvents"), "sendInitialEvents is forbidden for list")
	}
	return errs
}

// parseVersion reads a resourceVersion of a query. Upstream answers an unreadable one with a 500 of the same message.
func parseVersion(s string) (api.Revision, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, api.BadRequest("%s", field.Invalid(field.NewPath("resourceVersion"), s, err.Error()))
	}
	return api.Revision(n), nil
}

// unreadableVersion is parseVersion's error in the words of upstream's storage, which is asked for pages, to delete them
// too, and for exact states; its cache, which answers the rest, has none of its own.
func unreadableVersion(err error) error { return api.BadRequest("invalid resource version: %s", err) }

// intParam reads a number; one that is there but empty is as wrong as any other text.
func intParam(q url.Values, name string) (int64, error) {
	if !q.Has(name) {
		return 0, nil
	}
	s := q.Get(name)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, api.BadRequest("%s", err)
	}
	return n, nil
}

// checkTimeout refuses a timeout that is no duration. All requests but those that stay open may name one; it is no
// longer than what they are given anyway.
func checkTimeout(q url.Values) error {
	if s := q.Get("timeout"); s != "" {
		if _, err := time.ParseDuration(s); err != nil {
			return api.BadRequest("invalid timeout specified in the request URL - %s", err)
		}
	}
	return nil
}

// boolParam reads a boolean as upstream's query decoder does: false and 0 are false, anything else that is there,
// the empty string included, is true.
func boolParam(q url.Values, name string) bool {
	v, ok := q[name]
	if !ok || len(v) == 0 {
		return false
	}
	return !strings.EqualFold(v[0], "false") && v[0] != "0"
}
