package object

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"pintle.dev/api"
)

// Upstream's limits of a JSON patch.
const (
	maxJSONPatchOps = 10000
	// maxJSONPatchCopies bounds, in bytes of JSON, what all copy operations of one patch add up to.
	maxJSONPatchCopies = 3 << 20
	// maxJSONPatchMoves bounds how many items and members are moved aside, or together, by all that a patch adds and
	// removes: 10,000 operations at the head of a list of a million would take minutes. Not upstream's.
	maxJSONPatchMoves = 64 << 20
)

// What may be wrong with an operation, in the words of the library upstream uses.
var (
	errPatchMissing = errors.New("missing value")
	errPatchIndex   = errors.New("invalid index referenced")
	errPatchTest    = errors.New("test failed")
)

// JSONPatch is a parsed JSON patch (RFC 6902).
type JSONPatch struct {
	ops     *Value
	text    []byte
	written jsonpatch.Patch // the operations as they are written; nil before a test asks
}

// ParseJSONPatch reads a JSON patch. With strict set, problems are what strict field validation complains about, in
// upstream's words (`json patch unknown field "[0].x"`), and the members of an operation must have their types; without,
// wrong ones are found out when the patch is applied. It fails with 400 when the text is no list of operations, with 413
// when it has more than 10,000.
func ParseJSONPatch(data []byte, strict bool) (p *JSONPatch, problems []string, err error) {
	if !strict {
		if _, err := jsonpatch.DecodePatch(data); err != nil {
			return nil, nil, api.BadRequest("%v", err)
		}
	}
	ops, duplicates, err := ParseStrict(data)
	if err != nil {
		return nil, nil, api.BadRequest("error decoding patch: %v", err)
	}
	suspect := ops.Kind() != List || len(duplicates) > 0
	for _, op := range ops.Items() {
		for name, v := range op.Fields() {
			switch name {
			case "op", "path", "from":
				suspect = suspect || v.Kind() != String
			case "value":
			default:
				suspect = true
			}
		}
		suspect = suspect || op.Kind() != Map
	}
	if suspect && strict {
		if problems, err = judgeJSONPatch(data); err != nil {
			return nil, nil, err
		}
	}
	if n := ops.Len(); n > maxJSONPatchOps {
		return nil, nil, apierrors.NewRequestEntityTooLargeError(
			fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", maxJSONPatchOps, n))
	}
	return &JSONPatch{ops: ops, text: data}, problems, nil
}

// judgeJSONPatch has upstream's decoder say what is odd about a patch.
func judgeJSONPatch(data []byte) (problems []string, err error) {
	type jsonPatchOp struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		From  string `json:"from"`
		Value any    `json:"value"`
	}
	var ops []jsonPatchOp
	strict, err := kjson.UnmarshalStrict(data, &ops)
	if err != nil {
		return nil, api.BadRequest("error decoding patch: %s", strings.Replace(err.Error(), "object.jsonPatchOp", "handlers.jsonPatchOp", 1))
	}
	for _, e := range strict {
		problems = append(problems, "json patch "+e.Error())
	}
	return problems, nil
}

// Apply changes target as the operations say, in order; after an error target is in between. Errors are answered with
// 422. Where upstream's library departs from the RFC this does too: replacing a member of an object that is not there
// adds it, copying one that is not there copies null, negative indexes count from the end, and strings and
// numbers are tested by how they are written: 1.50 is not 1.5, and "<" is not the "\u003c" that an object is encoded with.
// After the first change, which may have brought values in another writing, only that a number is written as a whole one
// counts. target takes over values of the patch: it can be applied once.
func (p *JSONPatch) Apply(target *Value) error {
	if err := p.apply(target); err != nil {
		return unprocessable(err)
	}
	return nil
}

// apply fails with what is wrong in the library's words. Upstream does not pass them on.
func (p *JSONPatch) apply(target *Value) error {
	var w patchWork
	changed := false
	for i, op := range p.ops.Items() {
		if err := w.apply(target, op); err != nil {
			return err
		}
		if op.Get("op").Str() != "test" {
			changed = true
		} else if !changed {
			if err := p.testWritten(target, i, op); err != nil {
				return err
			}
		}
		if w.moved > maxJSONPatchMoves {
			return errors.New("the patch adds and removes too much in lists and objects that are too long")
		}
	}
	// Copies nest what was nested already.
	if w.copied > 0 && !target.Fits() {
		return errors.New("exceeded max depth")
	}
	return nil
}

// unprocessable is upstream's 422 for a patch that cannot be applied.
func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

// patchWork counts what is bounded for a patch as a whole.
type patchWork struct {
	copied int // bytes of JSON
	moved  int // items and members
}

func (w *patchWork) apply(doc, op *Value) error {
	switch kind := op.Get("op").Str(); kind {
	case "add":
		return w.add(doc, op)
	case "remove":
		return w.remove(doc, op)
	case "replace":
		return patchReplace(doc, op)
	case "move":
		return w.move(doc, op)
	case "test":
		return patchTest(doc, op)
	case "copy":
		return w.copy(doc, op)
	default:
		if op.Get("op") == nil {
			kind = "unknown"
		}
		//lint:ignore ST1005 upstream's words
		return fmt.Errorf("Unexpected kind: %s", kind)
	}
}

// pointer is the JSON pointer in a member of an operation.
func pointer(op *Value, name string) (string, error) {
	if v := op.Get(name); v.Kind() == String {
		return v.Str(), nil
	}
	if name == "from" {
		return "", fmt.Errorf("operation, missing from field: %w", errPatchMissing)
	}
	return "", fmt.Errorf("operation missing %s field: %w", name, errPatchMissing)
}

var pointerDecoder = strings.NewReplacer("~1", "/", "~0", "~")

// locate finds the list or map that holds what a JSON pointer names, and its key there; nil when there is none. What
// comes before the first slash is passed over.
func locate(doc *Value, pointer string) (*Value, string) {
	_, rest, ok := strings.Cut(pointer, "/")
	for ok {
		var key string
		var more bool
		if key, rest, more = strings.Cut(rest, "/"); !more {
			return doc, pointerDecoder.Replace(key)
		}
		next, err := elementAt(doc, pointerDecoder.Replace(key))
		if err != nil || next.Kind() < List {
			return nil, ""
		}
		doc = next
	}
	return nil, ""
}

// elementAt is the member or item of that key. A member that is not there is nil, an item that is not is an error.
func elementAt(con *Value, key string) (*Value, error) {
	if con.kind == Map {
		return con.Get(key), nil
	}
	i, err := itemIndex(key, con.Len())
	if err != nil {
		return nil, err
	}
	return con.Index(i), nil
}

// itemIndex reads a key as an index below n.
func itemIndex(key string, n int) (int, error) {
	i, err := strconv.Atoi(key)
	if err != nil {
		return 0, err
	}
	if i >= n || i < -n {
		//lint:ignore ST1005 upstream's words
		return 0, fmt.Errorf("Unable to access invalid index: %d: %w", i, errPatchIndex)
	}
	if i < 0 {
		i += n
	}
	return i, nil
}

// put adds a member, or inserts an item.
func (w *patchWork) put(con *Value, key string, v Value) error {
	if con.kind == Map {
		n := con.Len()
		con.Set(key, v)
		if con.Len() > n {
			w.moved += n
		}
		return nil
	}
	if key == "-" {
		con.Append(v)
		return nil
	}
	i, err := itemIndex(key, con.Len()+1)
	if err != nil {
		if !errors.Is(err, errPatchIndex) {
			return fmt.Errorf("value was not a proper array index: '%s': %w", key, err)
		}
		return err
	}
	w.moved += con.Len() - i
	con.Insert(i, v)
	return nil
}

func (w *patchWork) take(con *Value, key string) error {
	if con.kind == Map {
		w.moved += con.Len()
		if !con.Remove(key) {
			//lint:ignore ST1005 upstream's words
			return fmt.Errorf("Unable to remove nonexistent key: %s: %w", key, errPatchMissing)
		}
		return nil
	}
	i, err := itemIndex(key, con.Len())
	if err != nil {
		return err
	}
	w.moved += con.Len() - i
	con.RemoveIndex(i)
	return nil
}

// operand is the value of an operation; null when it has none.
func operand(op *Value) Value {
	if v := op.Get("value"); v != nil {
		return *v
	}
	return Value{}
}

func (w *patchWork) add(doc, op *Value) error {
	path, err := pointer(op, "path")
	if err != nil {
		return fmt.Errorf("add operation failed to decode path: %w", errPatchMissing)
	}
	con, key := locate(doc, path)
	if con == nil {
		return fmt.Errorf("add operation does not apply: doc is missing path: \"%s\": %w", path, errPatchMissing)
	}
	if err := w.put(con, key, operand(op)); err != nil {
		return fmt.Errorf("error in add for path: '%s': %w", path, err)
	}
	return nil
}

func (w *patchWork) remove(doc, op *Value) error {
	path, err := pointer(op, "path")
	if err != nil {
		return fmt.Errorf("remove operation failed to decode path: %w", errPatchMissing)
	}
	con, key := locate(doc, path)
	if con == nil {
		return fmt.Errorf("remove operation does not apply: doc is missing path: \"%s\": %w", path, errPatchMissing)
	}
	if err := w.take(con, key); err != nil {
		return fmt.Errorf("error in remove for path: '%s': %w", path, err)
	}
	return nil
}

func patchReplace(doc, op *Value) error {
	path, err := pointer(op, "path")
	if err != nil {
		return fmt.Errorf("replace operation failed to decode path: %w", err)
	}
	if path == "" {
		v := operand(op)
		if v.kind < List {
			return errors.New("replace operation value must be object or array: %!w(<nil>)") // upstream's words, its slip included
		}
		doc.Replace(v)
		return nil
	}
	con, key := locate(doc, path)
	if con == nil {
		return fmt.Errorf("replace operation does not apply: doc is missing path: %s: %w", path, errPatchMissing)
	}
	at, err := elementAt(con, key)
	if err != nil {
		return fmt.Errorf("replace operation does not apply: doc is missing key: %s: %w", path, errPatchMissing)
	}
	if at == nil {
		con.Set(key, operand(op))
	} else {
		at.Replace(operand(op))
	}
	return nil
}

func (w *patchWork) move(doc, op *Value) error {
	from, err := pointer(op, "from")
	if err != nil {
		return fmt.Errorf("move operation failed to decode from: %w", err)
	}
	con, key := locate(doc, from)
	if con == nil {
		return fmt.Errorf("move operation does not apply: doc is missing from path: %s: %w", from, errPatchMissing)
	}
	var moved Value
	at, err := elementAt(con, key)
	if at != nil {
		moved = *at
	}
	if err == nil {
		err = w.take(con, key)
	}
	if err != nil {
		return fmt.Errorf("error in move for path: '%s': %w", key, err)
	}
	path, err := pointer(op, "path")
	if err != nil {
		return fmt.Errorf("move operation failed to decode path: %w", err)
	}
	if con, key = locate(doc, path); con == nil {
		return fmt.Errorf("move operation does not apply: doc is missing destination path: %s: %w", path, errPatchMissing)
	}
	if err := w.put(con, key, moved); err != nil {
		return fmt.Errorf("error in move for path: '%s': %w", path, err)
	}
	return nil
}

func patchTest(doc, op *Value) error {
	path, err := pointer(op, "path")
	if err != nil {
		return fmt.Errorf("test operation failed to decode path: %w", err)
	}
	have, want := doc, op.Get("value")
	if path != "" {
		con, key := locate(doc, path)
		if con == nil {
			return fmt.Errorf("test operation does not apply: is missing path: %s: %w", path, errPatchMissing)
		}
		if have, err = elementAt(con, key); err != nil {
			return fmt.Errorf("error in test for path: '%s': %w", path, err)
		}
	}
	if !Same(have, want) {
		return fmt.Errorf("testing value %s failed: %w", path, errPatchTest)
	}
	return nil
}

// testWritten is the rest of the i-th operation, a test that has found equal values: whether they are written alike.
func (p *JSONPatch) testWritten(doc *Value, i int, op *Value) error {
	want := op.Get("value")
	if want.Kind() < Number {
		return nil // there is one way to write them
	}
	if p.written == nil {
		var err error
		if p.written, err = jsonpatch.DecodePatch(p.text); err != nil {
			return err
		}
	}
	path, have := op.Get("path").Str(), doc
	if path != "" {
		con, key := locate(doc, path)
		have, _ = elementAt(con, key) // the test has found it
	}
	encoded, err := json.Marshal(have.ToAny())
	if err != nil {
		return err
	}
	if written := p.written[i]["value"]; written == nil || !jsonpatch.Equal(encoded, *written) {
		return fmt.Errorf("testing value %s failed: %w", path, errPatchTest)
	}
	return nil
}

func (w *patchWork) copy(doc, op *Value) error {
	from, err := pointer(op, "from")
	if err != nil {
		return fmt.Errorf("copy operation failed to decode from: %w", err)
	}
	con, key := locate(doc, from)
	if con == nil {
		return fmt.Errorf("copy operation does not apply: doc is missing from path: %s: %w", from, errPatchMissing)
	}
	at, err := elementAt(con, key)
	if err != nil {
		return fmt.Errorf("error in copy for from: '%s': %w", from, err)
	}
	path, err := pointer(op, "path")
	if err != nil {
		return fmt.Errorf("copy operation failed to decode path: %w", errPatchMissing)
	}
	if w.copied += len(appendValue(nil, at)); at != nil && w.copied > maxJSONPatchCopies {
		//lint:ignore ST1005 upstream's words
		return fmt.Errorf("Unable to complete the copy, the accumulated size increase of copy is %d, exceeding the limit %d",
			w.copied, maxJSONPatchCopies)
	}
	v := at.Clone()
	if con, key = locate(doc, path); con == nil {
		return fmt.Errorf("copy operation does not apply: doc is missing destination path: %s: %w", path, errPatchMissing)
	}
	if err := w.put(con, key, v); err != nil {
		return fmt.Errorf("error while adding value during copy: %w", err)
	}
	return nil
}
