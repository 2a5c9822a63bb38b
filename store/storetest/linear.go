package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"pintle.dev/api"
	"pintle.dev/store"
)

// register is one object as porcupine sees it: its state is the revision and the data, zero when absent.
type register struct {
	revision api.Revision
	data     string
}

type registerInput struct {
	key    int
	op     store.Op // Guard stands for reading
	expect api.Revision
	data   string
}

type registerOutput struct {
	register      // of a read what was seen, of a write the revision
	conflict bool // of a write
}

var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[int][]porcupine.Operation{}
		for _, op := range history {
			k := op.Input.(registerInput).key
			parts[k] = append(parts[k], op)
		}
		var out [][]porcupine.Operation
		for _, p := range parts {
			out = append(out, p)
		}
		return out
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		st, in, out := state.(register), input.(registerInput), output.(registerOutput)
		switch {
		case in.op == store.OpGuard:
			return out.register == st, st
		case out.conflict:
			return in.expect != st.revision, st
		case in.expect != st.revision || out.revision <= st.revision:
			return false, st
		case in.op == store.OpDelete:
			return true, register{}
		}
		return true, register{out.revision, in.data}
	},
	Equal: func(a, b any) bool { return a == b },
}

// testLinearizable lets clients read and write a few objects and checks that some order of their operations explains
// every answer, each taking effect at one moment between its call and its return.
func testLinearizable(t *testing.T, storage *Storage) {
	s := open(t, storage)
	const clients, operations, objects = 6, 150, 4
	var mu sync.Mutex
	var history []porcupine.Operation
	start := time.Now()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(client), 3))
			known := map[int]api.Revision{}
			for i := range operations {
				in := registerInput{key: rnd.IntN(objects), op: store.Op(rnd.IntN(3)), data: fmt.Sprint(client, "-", i)}
				in.expect = known[in.key]
				if in.op == store.OpDelete && in.expect == 0 {
					in.op = store.OpGuard
				}
				op := porcupine.Operation{ClientId: client, Input: in, Call: time.Since(start).Nanoseconds()}
				out, err := perform(t, s, in)
				if err != nil {
					t.Error(err)
					return
				}
				op.Return, op.Output = time.Since(start).Nanoseconds(), out
				switch {
				case in.op == store.OpDelete && !out.conflict:
					known[in.key] = 0
				case !out.conflict:
					known[in.key] = out.revision
				}
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if !porcupine.CheckOperations(registers, history) {
		t.Fatalf("the history of %d operations is not linearizable", len(history))
	}
}

func perform(t *testing.T, s *store.Store, in registerInput) (out registerOutput, err error) {
	name := fmt.Sprint("r", in.key)
	var w store.Write
	switch in.op {
	case store.OpGuard:
		v, err := s.View(t.Context(), 0)
		if err != nil {
			return out, err
		}
		if rec := v.Get(apples, key(name)); rec != nil {
			out.register = register{rec.Revision(), Data(rec)}
		}
		return out, nil
	case store.OpPut:
		w = store.Put(apples, object(name, in.data), in.expect)
	case store.OpDelete:
		w = store.Delete(apples, key(name), in.expect)
	}
	out.revision, err = s.Commit(t.Context(), w)
	if errors.Is(err, store.ErrConflict) {
		return registerOutput{conflict: true}, nil
	}
	return out, err
}

// testGuards lets writers create children of a parent, each guarded by the parent's being there, until they are refused
// as it is deleted: no child may ever be without its parent.
func testGuards(t *testing.T, storage *Storage) {
	s := open(t, storage)
	parent := commit(t, s, store.Put(pears, object("parent", ""), 0))
	const writers = 4
	var deleted atomic.Bool
	var wg, begun sync.WaitGroup
	begun.Add(writers)
	var created [writers]int
	for w := range created {
		wg.Go(func() {
			first := sync.OnceFunc(begun.Done)
			defer first()
			for {
				late := deleted.Load()
				_, err := s.Commit(t.Context(), store.Put(apples, object(fmt.Sprint(w, "-", created[w]), ""), 0), store.Guard(pears, key("parent"), parent))
				if errors.Is(err, store.ErrConflict) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if late {
					t.Error("not refused after the parent was deleted")
					return
				}
				created[w]++
				first()
			}
		})
	}
	begun.Wait()
	gone := commit(t, s, store.Delete(pears, key("parent"), parent))
	deleted.Store(true)
	wg.Wait()
	children := 0
	for rec := range view(t, s).All(apples, "") {
		children++
		if rec.Revision() > gone {
			t.Errorf("%q was created at %d, its parent deleted at %d", rec.Key(), rec.Revision(), gone)
		}
	}
	sum := 0
	for _, n := range created {
		sum += n
	}
	if sum != children {
		t.Errorf("%d creations were reported, %d children are there", sum, children)
	}
}
