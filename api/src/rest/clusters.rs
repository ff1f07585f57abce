use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use super::Tag;
use super::errors::{ListError, ReadError};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Cluster, ClusterList};

pub(crate) struct Clusters;

#[OpenApi(prefix_path = "/clusters", tag = "Tag::Clusters")]
impl Clusters {
    /// List clusters
    ///
    /// Whether they can be reached, and how full they are.
    #[oai(path = "/", method = "get", operation_id = "listClusters")]
    async fn list(&self, api: Data<&Arc<Api>>, caller: Data<&Caller>) -> Result<Json<ClusterList>, ListError> {
        let clusters = api.operations.list_clusters(&caller.0.0).await?;
        Ok(Json(ClusterList { items: clusters.into_iter().map(Cluster::from).collect() }))
    }

    /// Get a cluster
    ///
    /// Whether it can be reached, and how full it is.
    #[oai(path = "/:cluster", method = "get", operation_id = "getCluster")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its name: `default`.
        cluster: Path<String>,
    ) -> Result<Json<Cluster>, ReadError> {
        Ok(Json(api.operations.get_cluster(&caller.0.0, &cluster).await?.into()))
    }
}
