package store

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

type number int

func (n number) Compare(o number) int { return cmp.Compare(n, o) }

type pair struct {
	k number
	v int
}

func (p pair) Key() number { return p.k }

// checkNodes verifies the tree's shape: order, counts, fan-out and equal depth of leaves.
func checkNodes(t *testing.T, n *node[number, pair], root bool) (depth int) {
	t.Helper()
	if len(n.items) == 0 || len(n.items) > maxItems {
		t.Fatalf("a node has %d items", len(n.items))
	}
	if !slices.IsSortedFunc(n.items, func(a, b pair) int { return a.k.Compare(b.k) }) {
		t.Fatal("items of a node are not in order")
	}
	count := len(n.items)
	if n.kids != nil {
		if len(n.kids) != len(n.items)+1 {
			t.Fatalf("a node has %d items and %d kids", len(n.items), len(n.kids))
		}
		for i, k := range n.kids {
			d := checkNodes(t, k, false) + 1
			if i > 0 && d != depth {
				t.Fatal("leaves are not at the same depth")
			}
			depth = d
			count += k.count
		}
	}
	if count != n.count {
		t.Fatalf("a node of %d items says %d", count, n.count)
	}
	return depth
}

func TestTreeAgainstModel(t *testing.T) {
	for _, space := range []int{10, 300, 20000} {
		t.Run(fmt.Sprint(space), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(space)))
			var tr tree[number, pair]
			model := map[number]int{}
			type snapshot struct {
				tree  tree[number, pair]
				items []pair
			}
			var snaps []snapshot
			gen := uint64(1)
			items := func() []pair {
				var ps []pair
				for k, v := range model {
					ps = append(ps, pair{k, v})
				}
				slices.SortFunc(ps, func(a, b pair) int { return a.k.Compare(b.k) })
				return ps
			}
			for step := range 30000 {
				k := number(rnd.IntN(space))
				deleting := step/5000%2 == 1
				if rnd.IntN(10) < 7 == deleting {
					old, ok := tr.delete(gen, k)
					if want, had := model[k]; ok != had || ok && old.v != want {
						t.Fatalf("delete(%d) = %v, %v; want %v, %v", k, old, ok, want, had)
					}
					delete(model, k)
				} else {
					old, ok := tr.set(gen, pair{k, step})
					if want, had := model[k]; ok != had || ok && old.v != want {
						t.Fatalf("set(%d) = %v, %v; want %v, %v", k, old, ok, want, had)
					}
					model[k] = step
				}
				if step%997 == 0 {
					if tr.root != nil {
						checkNodes(t, tr.root, true)
					}
					all := items()
					if got := slices.Collect(tr.all()); !slices.Equal(got, all) {
						t.Fatalf("step %d: the tree differs from the model", step)
					}
					at := number(rnd.IntN(space))
					i, _ := slices.BinarySearchFunc(all, at, func(p pair, k number) int { return p.k.Compare(k) })
					if got := slices.Collect(tr.from(at)); !slices.Equal(got, all[i:]) {
						t.Fatalf("step %d: from(%d) differs from the model", step, at)
					}
					if tr.rank(at) != i || tr.len() != len(all) {
						t.Fatalf("step %d: rank(%d) = %d of %d, want %d of %d", step, at, tr.rank(at), tr.len(), i, len(all))
					}
					snaps = append(snaps, snapshot{tr, all})
					gen++
				}
			}
			for i, s := range snaps {
				if got := slices.Collect(s.tree.all()); !slices.Equal(got, s.items) {
					t.Fatalf("snapshot %d has changed", i)
				}
			}
		})
	}
}

func TestTreeFillsNodesInOrder(t *testing.T) {
	var tr tree[number, pair]
	const n = 100000
	for i := range n {
		tr.set(1, pair{number(i), i})
	}
	nodes := 0
	var visit func(*node[number, pair])
	visit = func(n *node[number, pair]) {
		nodes++
		for _, k := range n.kids {
			visit(k)
		}
	}
	visit(tr.root)
	checkNodes(t, tr.root, true)
	if fill := float64(n) / float64(nodes*maxItems); fill < 0.9 {
		t.Errorf("nodes are %.0f %% full after ascending insertions", fill*100)
	}
}
