package admission

// All lists the plugins in the order they run, which is upstream's.
func All(s Snapshot) Chain {
	return Chain{
		namespaceLifecycle(s),
		serviceAccount(s),
		nodeRestriction(),
		taintNodesByCondition(),
		priority{s},
		defaultTolerationSeconds(),
		runtimeClass{},
	}
}
