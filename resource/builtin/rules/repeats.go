package rules

// short is how long a list may be to be looked through for each question.
const short = 16

// Repeats tells of the items of a list whether one before it has the same key. Short lists, as nearly all are, are looked
// through; long ones would take time in the square of their length.
func Repeats[T any, K comparable](list []T, key func(*T) K) func(i int) bool {
	if len(list) <= short {
		return func(i int) bool {
			k := key(&list[i])
			for j := range list[:i] {
				if key(&list[j]) == k {
					return true
				}
			}
			return false
		}
	}
	first := make(map[K]int, len(list))
	for i := range list {
		k := key(&list[i])
		if _, known := first[k]; !known {
			first[k] = i
		}
	}
	return func(i int) bool { return first[key(&list[i])] < i }
}

// Holds returns a function that reports whether an item of list has a key.
func Holds[T any, K comparable](list []T, key func(*T) K) func(K) bool {
	if len(list) == 0 {
		return func(K) bool { return false }
	}
	if len(list) <= short {
		return func(k K) bool {
			for i := range list {
				if key(&list[i]) == k {
					return true
				}
			}
			return false
		}
	}
	held := make(map[K]bool, len(list))
	for i := range list {
		held[key(&list[i])] = true
	}
	return func(k K) bool { return held[k] }
}
