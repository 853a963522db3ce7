"""What a recipe may say and what a store must hold: frozen pydantic models."""
