package apps

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

// rollback is the subresource that asks for the template of an earlier revision, which the deployment controller brings
// back. O is the body's type in the version: its fields are the same in all that have it.
func rollback[O any](v *resource.Version) resource.Subresource {
	return resource.Subresource{
		Verbs: []api.Verb{api.Create}, Group: v.Group, Version: v.Name, Kind: "DeploymentRollback",
		Warning: resource.Deprecation[O](v.Group, v.Name),
		Body:    func() any { return new(O) },
		Apply:   askRollback,
		Answer: func(w *resource.Write) *metav1.Status {
			st := api.Success(nil)
			st.Code, st.Message = http.StatusOK, fmt.Sprintf("rollback request for deployment %q succeeded", w.New.Meta.Name)
			return st
		},
	}
}

// askRollback notes the wanted revision and the annotations of a DeploymentRollback on the Deployment.
func askRollback(_ context.Context, w *resource.Write, body any) error {
	var r extensionsv1beta1.DeploymentRollback
	b, err := json.Marshal(body)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return fmt.Errorf("reading %T as a DeploymentRollback: %w", body, err)
	}
	errs := apivalidation.ValidateAnnotations(r.UpdatedAnnotations, field.NewPath("updatedAnnotations"))
	if r.Name == "" {
		errs = append(errs, field.Required(field.NewPath("name"), "name is required"))
	}
	errs = append(errs, rules.NonNegative(field.NewPath("rollback"), r.RollbackTo.Revision, "version")...)
	if len(errs) > 0 {
		return api.Invalid(group, "DeploymentRollback", r.Name, errs)
	}
	if r.Name != w.Old.Meta.Name {
		return api.BadRequest("name in URL does not match name in DeploymentRollback object")
	}
	d := w.New.Value.(*appsv1.Deployment)
	before := maps.Clone(d.Annotations)
	for k, v := range r.UpdatedAnnotations {
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, k, v)
	}
	metav1.SetMetaDataAnnotation(&d.ObjectMeta, appsv1.DeprecatedRollbackTo, strconv.FormatInt(r.RollbackTo.Revision, 10))
	if !sameMap(before, d.Annotations) {
		d.Generation++
	}
	return nil
}
