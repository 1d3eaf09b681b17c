"""Classification of texts, without a reply: `/v1/classify` and `/v1/moderations`."""
