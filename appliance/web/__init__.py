"""The page: gate, login, live view and tabs. The only part that knows Gradio."""
